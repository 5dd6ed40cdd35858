"""The page Feature space's pure modules, run in a real browser: addresses, links, which picture."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from app.bundle import bundle

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FILES = Path(__file__).resolve().parents[2] / "app" / "live_chart"


def ask(page: Page, module: str, code: str, *values: Any) -> Any:
    """What an expression over the exports `m` of a module and `values` comes to."""
    modules = {path.stem: path.read_text("utf-8") for path in FILES.glob("*.js")}
    return page.evaluate(
        """async ([text, code, values]) => {
            const blob = new Blob([text], { type: "text/javascript" });
            const m = await import(URL.createObjectURL(blob));
            return new Function("m", "values", `return ${code}`)(m, values);
        }""",
        [bundle(modules, module), code, list(values)],
    )


def snapshot(epoch: int, *, time: float = 0.0, **states: str) -> dict[str, Any]:
    methods = {name: {"state": state, "error": "no memory"} for name, state in states.items()}
    return {"id": epoch + 1, "step": 10 * epoch + 10, "epoch": epoch, "time": time,
            "methods": methods}  # fmt: skip


READY = {"pca": "ready", "umap": "ready"}


@pytest.mark.parametrize(
    ("newest", "follows", "shown", "method", "words"),
    [
        (snapshot(1, **READY), True, 1, "umap", ""),
        # Who follows keeps the method and waits; who chose the epoch sees it by PCA.
        (snapshot(1, pca="ready", umap="running"), True, 0, "umap",
         "UMAP joint of epoch 2 is being computed. Shown is epoch 1."),
        (snapshot(1, pca="ready", umap="running"), False, 1, "pca",
         "UMAP joint of epoch 2 is being computed. Shown is PCA."),
        (snapshot(1, pca="ready", umap="failed"), True, 1, "pca",
         "UMAP joint of epoch 2 failed: no memory. Shown is PCA."),
        (snapshot(1, time=90.0), True, 0, "umap",
         "UMAP joint of epoch 2 is about to be computed. Shown is epoch 1."),
        (snapshot(1), False, None, "umap",
         "Epoch 2 has waited 100 s for its picture, so no projector seems to run: start one with "
         "“fasa project”, or all of the dashboard with “fasa up”."),
        (snapshot(1, pca="ready"), False, 1, "pca",
         "There is no UMAP joint of epoch 2: the projector had fallen behind and left it out. "
         "Shown is PCA."),
    ],
)  # fmt: skip
def test_which_picture_is_shown_and_what_is_said(
    page: Page, newest: Any, follows: bool, shown: int | None, method: str, words: str
) -> None:
    snapshots = [snapshot(0, **READY), newest]
    found = ask(page, "feature_space_moment",
                "m.resolve(values[0], values[0][1], 'umap', { follows: values[1], now: 100 })",
                snapshots, follows)  # fmt: skip
    assert (found["method"], found["words"]) == (method, words)
    assert (found["snapshot"] or {}).get("epoch") == shown


def test_which_snapshots_belong_together_and_what_is_missing(page: Page) -> None:
    kept = [snapshot(0), snapshot(3), snapshot(4), snapshot(7)]
    at = "[null, 5, 40, 49, 999].map((step) => m.placeOf(values[0], step))"
    assert ask(page, "feature_space_moment", at, kept) == [3, 0, 1, 1, 3]
    partner = "values[1].map((one) => m.beside(values[0], one).epoch)"
    asked = [snapshot(3), snapshot(6), snapshot(9)]
    assert ask(page, "feature_space_moment", partner, kept, asked) == [3, 4, 7]
    early = [snapshot(5)]  # a fork that begins later than what is asked for
    assert ask(page, "feature_space_moment", partner, early, asked) == [5, 5, 5]
    said = "m.thinnedWords(values[0])"
    assert ask(page, "feature_space_moment", said, kept).startswith(
        "No snapshot is kept of epochs 2 to 3, 6 to 7:"
    )
    assert ask(page, "feature_space_moment", said, kept[1:3]) == ""


def test_chosen_points_fit_an_address_and_come_back(page: Page) -> None:
    there = "[...m.readKeys(m.writeKeys(new Set(values[0])))].sort((a, b) => a - b)"
    keys = [0, 1, 2, 7, 40, 2**31, 2**31 + 1, 2**31 + 4096 * 1202 + 9]
    assert ask(page, "feature_space_points", there, keys) == keys
    assert (
        ask(page, "feature_space_points", "m.writeKeys(new Set(values[0]))", keys[:4]) == "O0-2.7"
    )
    scattered = list(range(0, 4000, 2))
    assert ask(page, "feature_space_points", "m.writeKeys(new Set(values[0]))", scattered) == ""
    broken = ["", "O", "Ozz-a", "O1-zzzzzzzz", "nonsense", "V-", "O3."]
    read = "values[0].map((text) => [...m.readKeys(text)])"
    assert ask(page, "feature_space_points", read, broken) == [[], [], [], [], [], [], [3]]


def test_two_runs_are_linked_by_class_name_and_by_image_and_box(page: Page) -> None:
    def overview(names: list[str], objects: list[tuple[int, int, int]]) -> dict[str, Any]:
        return {
            "classes": [{"name": name} for name in names],
            "objects": {"class": [row[0] for row in objects], "image": [row[1] for row in objects],
                        "box": [[row[2], 0, 9, 9] for row in objects]},
        }  # fmt: skip

    first = overview(["owl", "tiger"], [(0, 5, 1), (1, 5, 2), (1, 6, 1)])
    second = overview(["tiger", "owl"], [(0, 6, 1), (1, 5, 1), (1, 5, 2)])
    linked = """(([a, b]) => [0, 1, 2, m.virtualKey(1, 3)].map((key) => {
        const found = new m.Links(b).from(new m.Links(a), key);
        return found !== null && m.isVirtual(found) ? m.virtualPlace(found) : found;
    }))(values)"""
    # The second object has the same image and box, but is called an owl there.
    assert ask(page, "feature_space_points", linked, first, second) == [1, None, 0, [0, 3]]


def test_colours_are_the_same_everywhere(page: Page) -> None:
    look = {"light": "#000000", "dark": "#FFFFFF", "name": "rare"}
    scale = [{"light": "#000000", "dark": "#000000"}, {"light": "#640000", "dark": "#640000"}]
    split = {key: look | {"name": key} for key in ("train", "holdout", "virtual")}
    looks = {"frequency": {"r": look}, "scale": scale, "split": split}
    overview = {
        "classes": [{"name": "owl", "frequency": "r"}, {"name": "tiger", "frequency": "?"}],
        "objects": {"class": [0, 1], "holdout": [0, 1]}, "first_seen": [0, None],
    }  # fmt: skip
    made = """(([mode, looks, overview, pins]) => {
        const points = { count: 3, realCount: 2, objects: [0, 1], virtualClass: [1],
                         loss: [0.01, 10, Math.sqrt(0.1)], superGroup: [-1, 4] };
        const paint = new m.Paint({ mode, overview, points, pins, looks, dark: false });
        return { colors: Array.from(paint.colors()), legend: paint.legend() };
    })(values)"""

    def paint(mode: str, pins: Any = ()) -> tuple[list[list[int]], dict[str, Any]]:
        found = ask(page, "feature_space_colors", made, mode, looks, overview, list(pins))
        colors = found["colors"]
        return [colors[at : at + 3] for at in range(0, 12, 4)], found["legend"]

    grey = [138, 144, 153]
    assert paint("frequency")[0] == [[0, 0, 0], grey, grey]
    # The middle of a logarithmic bar from 0.01 to 10 is the root of 0.1.
    assert paint("loss")[0] == [[0, 0, 0], [100, 0, 0], [50, 0, 0]]
    assert paint("first")[0] == [[0, 0, 0], grey, grey]
    assert paint("first")[1]["entries"][0]["text"] == "not seen yet (1 class)"
    assert [one["text"] for one in paint("split")[1]["entries"]] == [
        "train (1)", "holdout (1)", "virtual (1)"]  # fmt: skip
    groups, legend = paint("group")
    assert groups[0] == grey
    assert groups[1] == groups[2] != grey
    assert [one["text"] for one in legend["entries"]] == [
        "group 4 (1 class)", "in no group (1 class)"]  # fmt: skip
    pin = {"index": 1, "name": "tiger", "light": "#0A0B0C", "dark": "#FFFFFF"}
    plain, _ = paint("class")
    pinned, legend = paint("class", [pin])
    assert pinned[0] == plain[0]  # hashed from the name alone
    assert pinned[1] == pinned[2] == [10, 11, 12]
    assert [one["text"] for one in legend["entries"]] == ["tiger"]
    assert json.dumps(legend["note"]).startswith('"The other class wears')
