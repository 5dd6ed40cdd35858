"""The newest measures of several runs: numbers as text, dashes, and names that try to be markup."""

import numpy as np
from test_charts import run

from app.comparison_html import measures_table
from app.comparison_measures import COLUMNS, has_any, measured
from app.looks import INK, Look
from trainer.run_log.rows import MeasureRow


def row(name: str, **groups: float | None) -> MeasureRow:
    return MeasureRow(3, 50, 4, name, np.zeros(0, np.float32), groups)


NEWEST = {
    "neighbours_virtual": row("neighbours_virtual", all=0.718, rare=0.613),
    "frechet_distance": row("frechet_distance", all=2514.4, rare=None),
    "negative_share": row("negative_share", all=0.05, rare=0.028),
}


def test_a_row_has_all_and_rare_classes_and_dashes() -> None:
    cells = dict(zip([name for _, name, _ in COLUMNS], measured(run(), "a", NEWEST).cells,
                     strict=True))  # fmt: skip
    assert cells["neighbours_virtual"] == ("0.72", "0.61")
    assert cells["neighbours_holdout"] == ("–", "–")
    assert cells["frechet_distance"] == ("2,514", "–")
    assert cells["negative_share"] == ("0.05", "0.03")


def test_epochs_are_those_of_the_snapshot() -> None:
    assert measured(run(), "a", NEWEST).epochs == "5"  # step 50 of 100 in 10 epochs
    assert measured(run(), "a", {}).epochs == "–"


def test_without_any_measure_there_is_no_table() -> None:
    assert not has_any({1: {}, 2: {}})
    assert has_any({1: {}, 2: NEWEST})


def test_the_table_escapes_names() -> None:
    rows = [measured(run(), "<b>a</b>", NEWEST)]
    html = measures_table(rows, {1: Look(INK)}, dark=False)
    assert "&lt;b&gt;a&lt;/b&gt;" in html
    assert "<b>" not in html
    assert '<td class="number">0.72 <small>(0.61)</small></td>' in html
