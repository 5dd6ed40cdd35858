"""The figures of an evaluation on the pages: which are offered, and what they are called."""

import pytest

from app.comparison_html import result_table
from app.comparison_results import Evaluation, Result, evaluations, latex, markdown, scalar_names
from app.looks import INK, Look
from app.precision_figures import (
    SETS,
    average_precision,
    meaning,
    offered_sets,
    sets_of_run,
    subscript,
)
from trainer.run_log.rows import ScalarRow


def test_only_logged_figures_are_offered() -> None:
    assert list(offered_sets(["segm/AP", "segm/AP_r", "loss/total"])) == ["groups"]
    assert list(offered_sets(["bbox/AP", "bbox/AP_2", "bbox/AR"])) == ["bins", "recall"]
    assert list(offered_sets([])) == list(offered_sets(["segm/AP"])) == ["groups"]


def test_a_run_offers_what_its_data_set_gives() -> None:
    federated = ["groups", "sizes", "recall", "fixed", "pool"]
    assert list(sets_of_run({"data": "lvis"})) == list(sets_of_run({})) == federated
    assert list(sets_of_run({"data": "coco"})) == ["groups", "sizes", "recall"]
    assert list(sets_of_run({"data": "coco_lt"})) == ["groups", "bins", "sizes", "recall"]


@pytest.mark.parametrize("shown", SETS)
def test_every_set_is_a_chart_of_its_scalars(shown: str) -> None:
    chart = average_precision(measure="bbox", shown=shown)
    assert [line.series for line in chart.lines] == [f"bbox/{name}" for name in SETS[shown].names]
    assert chart.lines[0].name.endswith(", all")
    assert chart.lines[0].look.color == INK


def test_what_a_figure_means() -> None:
    assert meaning("AP", "boxes") == "average precision of boxes"
    assert meaning("AP_r", "masks") == "average precision of masks, rare classes"
    assert meaning("AR_small", "masks") == "average recall of masks, small objects"
    assert meaning("AP_fixed_f", "masks").endswith("cap per image lets through, frequent classes")
    assert meaning("AP_3", "boxes").endswith("400 to 7,999 training instances")
    assert subscript("AP_pool_c") == ("AP", "pool, c")
    assert subscript("AP50") == ("AP", "50")
    assert subscript("AR") == ("AR", "")


def test_a_table_of_other_figures() -> None:
    columns = SETS["fixed"].names
    assert scalar_names("segm", columns) == ["segm/AP", *(f"segm/{name}" for name in columns)]
    rows = [
        ScalarRow(1, "segm/AP_fixed_r", 66, 0, 0.0, 7.25),
        ScalarRow(2, "segm/AP", 66, 0, 0.0, 9.0),
        ScalarRow(3, "segm/AP_r", 66, 0, 0.0, 1.0),
    ]
    history = evaluations(rows, "segm", columns)
    assert history == [Evaluation(66, 1, {"AP_fixed_r": 7.25, "AP": 9.0})]
    table = [Result(1, "a", history[0])]
    assert "| a | 1 | – | 7.2 | – | – |" in markdown(table, ".", columns)
    assert r"Run & Epochs & AP$_{\mathrm{fixed}}$ & AP$_{\mathrm{fixed, r}}$" in latex(
        table, ".", columns
    )
    assert "<sub>fixed, r</sub>" in result_table(table, {1: Look(INK)}, ".", columns, dark=False)
