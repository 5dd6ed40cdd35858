"""What is done to runs from their list: each action once, each refusal in a sentence."""

from pathlib import Path
from typing import Any

import pytest
from browser.synthetic_log import SyntheticRun

from app.run_actions import act, describe, tags_of
from app.steering import NOT_UNDERSTOOD
from trainer.run_log.commands import set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run

HOSTILE = "<img src=x onerror=alert(1)> [x](javascript:alert(1)) :material/delete: $x$ 🙂 שלום"


def ended(runs: Path, status: str) -> Path:
    synthetic = SyntheticRun(runs, classes=4)
    writer = synthetic.start()
    writer.close()
    set_status(synthetic.path, synthetic.id, status)
    return synthetic.path


def row(path: Path) -> Run:
    return RunLogReader(path).run(1)


def test_an_ended_run_is_queued_again(tmp_path: Path) -> None:
    path = ended(tmp_path, "crashed")
    assert act(path, 1, "resume") == ""
    assert row(path).status == "queued"


def test_a_finished_run_is_not_and_says_what_to_do(tmp_path: Path) -> None:
    path = ended(tmp_path, "finished")
    assert "fork it with more epochs" in act(path, 1, "resume")
    assert row(path).status == "finished"


def test_archive_and_delete_can_be_taken_back(tmp_path: Path) -> None:
    path = ended(tmp_path, "stopped")
    assert act(path, 1, "archive") == ""
    assert row(path).archived is not None
    assert act(path, 1, "bring_back") == ""
    assert row(path).archived is None
    assert act(path, 1.0, "delete") == ""  # a browser's numbers may come as floats
    assert RunLogReader(path).runs() == []
    assert act(path, 1, "undo") == ""
    assert row(path).deleted is None


def test_a_run_at_work_is_not_deleted(tmp_path: Path) -> None:
    synthetic = SyntheticRun(tmp_path, classes=4)
    synthetic.start()
    assert "stop it" in act(synthetic.path, 1, "delete")
    assert row(synthetic.path).deleted is None


@pytest.mark.parametrize("kind", [None, "", "pause", "DROP", ["delete"], {"a": 1}])
def test_unknown_actions_are_refused(kind: Any, tmp_path: Path) -> None:
    path = ended(tmp_path, "stopped")
    assert act(path, 1, kind) == NOT_UNDERSTOOD


@pytest.mark.parametrize("run", [None, "1", 0, -1, 1.5, True, float("nan"), float("inf"), 2**70])
def test_what_is_no_run_is_refused(run: Any, tmp_path: Path) -> None:
    path = ended(tmp_path, "stopped")
    assert act(path, run, "delete") == NOT_UNDERSTOOD
    assert row(path).deleted is None


def test_an_unknown_run_is_said(tmp_path: Path) -> None:
    assert "There is no run 9" in act(ended(tmp_path, "stopped"), 9, "archive")


def test_texts_are_stored_as_they_are(tmp_path: Path) -> None:
    path = ended(tmp_path, "stopped")
    assert describe(path, row(path), name=f"  {HOSTILE} ", tags="a, b c,,a", note=HOSTILE) == ""
    stored = row(path)
    assert (stored.name, stored.note) == (HOSTILE, HOSTILE)
    assert stored.tags == ["a", "b c"]
    assert describe(path, stored, name=stored.name, tags="", note="") == ""
    assert (row(path).tags, row(path).note) == ([], "")


@pytest.mark.parametrize(
    "texts", [{"name": " "}, {"name": "x" * 201}, {"tags": "x" * 41}, {"note": "x" * 10_001}]
)
def test_a_text_that_breaks_a_rule_is_refused_in_a_sentence(
    texts: dict[str, str], tmp_path: Path
) -> None:
    path = ended(tmp_path, "stopped")
    before = row(path)
    sentence = describe(path, before, **{"name": "demo", "tags": "", "note": "", **texts})
    assert len(sentence) > 20
    assert "\n" not in sentence
    assert row(path) == before


def test_tags_are_divided_by_commas() -> None:
    assert tags_of(" a,b c , ,") == ["a", "b c"]
    assert tags_of("") == []
