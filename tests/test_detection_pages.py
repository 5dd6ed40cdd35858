"""The page Detections with Streamlit's AppTest: what it hands to its components."""

import json
from pathlib import Path

from browser.synthetic_log import SyntheticRun
from detection_builders import small_gallery
from open_pages import mounted, open_page

PAGE = "pages/detections.py"


def test_the_gallery_shows_what_the_address_says(runs: Path) -> None:
    small_gallery(SyntheticRun(runs).start())
    SyntheticRun(runs, name="<i>other</i>")
    [gallery] = mounted(
        open_page(PAGE, run="1", beside=["2:newest", "9:1"], score="0.5", step="10")
    )
    assert (gallery["kind"], gallery["run"]) == ("gallery", 1)
    assert gallery["view"]["columns"] == [
        {"run": 1, "step": "10"},
        {"run": 2, "step": "newest"},
    ]
    assert gallery["view"]["score"] == 0.5
    assert [run["label"] for run in gallery["spec"]["runs"]] == [
        "2 · <i>other</i> · queued", "1 · demo · running",
    ]  # fmt: skip
    assert "LVIS" not in gallery["spec"]["caption"]


def test_average_precision_is_a_table_and_a_figure(runs: Path) -> None:
    SyntheticRun(runs, classes=1203).start()
    page = open_page(PAGE, part="ap", measure="bbox", sort="-change", before="66")
    table, figure = mounted(page)
    assert (table["kind"], table["view"]) == ("ap_table", {"sort": "-change", "before": "66"})
    assert (figure["kind"], figure["spec"]["name"]) == ("figure", "ap_against_instances")
    assert figure["spec"]["params"] == {"measure": "bbox"}
    assert len(json.dumps(mounted(page))) < 4000  # no class travels with the page


def test_another_run_starts_at_its_own_newest_evaluation(runs: Path) -> None:
    for name in ("first", "second"):
        SyntheticRun(runs, name=name).start()
    page = open_page(PAGE, run="1", step="66", image="1001", score="0.5")
    page.selectbox(key="run-of-page-1").select(2).run()
    assert not page.exception
    [gallery] = mounted(page)
    assert gallery["view"]["columns"] == [{"run": 2, "step": "newest"}]
    assert (gallery["view"]["image"], gallery["view"]["score"]) == (None, 0.5)
    assert "step" not in page.query_params


def test_without_runs_it_says_how_to_start_one(runs: Path) -> None:
    [listing] = mounted(open_page(PAGE))
    assert listing["kind"] == "run_list"
