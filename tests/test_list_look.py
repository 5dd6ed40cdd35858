"""How the run list is looked at: to the address and back, and what a browser may not say."""

from typing import Any

import pytest

from app.list_look import COLUMNS, MOST_SELECTED, Look, look_of, sent_look

FULL = Look(
    search="tail α", sort="AP_r", ascending=True, status=("finished", "crashed"),
    tags=("a, b", "<b>"), archived=True, select=(4, 1),
)  # fmt: skip


def there_and_back(look: Look) -> Look:
    address = look.address()
    return look_of({name: [text] if isinstance(text, str) else text
                    for name, text in address.items()})  # fmt: skip


def test_a_look_survives_the_address() -> None:
    assert there_and_back(FULL) == FULL
    assert there_and_back(Look()) == Look()
    assert Look().address() == {}  # what is usual is not said
    assert look_of({}) == Look()


def test_what_a_browser_sends_becomes_a_look() -> None:
    sent = {
        "search": "tail α", "sort": "AP_r", "ascending": True, "archived": True,
        "status": ["finished", "crashed"], "tags": ["a, b", "<b>"], "select": [4.0, 1],
    }  # fmt: skip
    assert sent_look(sent) == FULL


@pytest.mark.parametrize(
    "sent",
    [None, 7, [], "x", {}, {"sort": "DROP TABLE", "status": "finished", "tags": 3, "select": {}},
     {"search": None, "sort": ["AP"], "select": [None, -1, 1.5, "x", "9" * 40, "²"]}],
)  # fmt: skip
def test_what_nobody_understands_is_passed_over(sent: Any) -> None:
    assert sent_look(sent) == Look()


def test_bounds_hold() -> None:
    look = sent_look({"search": "x" * 1000, "tags": ["y" * 101, "z"] + [str(n) for n in range(99)],
                      "select": list(range(1, 40)) + [1]})  # fmt: skip
    assert len(look.search) == 100
    assert len(look.tags) == 50
    assert "y" * 101 not in look.tags
    assert look.select == tuple(range(1, MOST_SELECTED + 1))


def test_the_browser_knows_the_same_columns() -> None:
    from pathlib import Path

    from app.live_chart import __file__ as package

    source = (Path(package).parent / "run_columns.js").read_text()
    assert all(f'key: "{name}"' in source for name in COLUMNS)
