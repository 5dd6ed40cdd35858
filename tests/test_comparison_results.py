"""The result table: numbers worked out by hand, names that try to be markup."""

import math

import pytest

from app.comparison_html import result_table
from app.comparison_results import (
    Evaluation,
    Result,
    cells,
    chosen_evaluation,
    evaluations,
    heading,
    latex,
    latex_text,
    markdown,
    markdown_text,
    same_epoch,
    signed,
    unique_names,
    warning,
    with_differences,
)
from app.looks import INK, Look
from trainer.run_log.rows import ScalarRow


def rows(*values: tuple[str, int, int, float]) -> list[ScalarRow]:
    return [ScalarRow(i, name, step, epoch, 0.0, value)
            for i, (name, step, epoch, value) in enumerate(values, start=1)]  # fmt: skip


def at(epochs: int, **values: float) -> Evaluation:
    return Evaluation(epochs * 10, epochs, values)


# Table 1 of the paper, by its own numbers: 22.6 - 19.3 = 3.3, 10.2 - 1.2 = 9.0, ...
BASELINE = at(24, AP=19.3, AP_r=1.2, AP_c=17.4, AP_f=29.3)
FASA = at(24, AP=22.6, AP_r=10.2, AP_c=21.6, AP_f=29.2)
TABLE = with_differences([Result(1, "baseline", BASELINE), Result(2, "FASA", FASA)], 1)


def test_evaluations_are_gathered_by_step_and_epochs_counted_as_people_do() -> None:
    found = evaluations(
        rows(("segm/AP", 66, 0, 1.5), ("segm/AP_r", 66, 0, math.nan), ("bbox/AP", 66, 0, 9.0),
             ("segm/AP", 132, 1, 2.5), ("segm/AP_f", 132, 1, 4.0), ("loss/total", 140, 2, 1.0)),
        "segm",
    )  # fmt: skip
    assert found == [
        Evaluation(66, 1, {"AP": 1.5}),
        Evaluation(132, 2, {"AP": 2.5, "AP_f": 4.0}),
    ]


def test_newest_best_and_same_epoch() -> None:
    history = [at(1, AP=3.0), at(2, AP=7.0), at(3, AP=7.0), at(4, AP=5.0)]
    assert chosen_evaluation(history, "newest") is history[3]
    assert chosen_evaluation(history, "best") is history[1]  # of equal ones the first
    assert chosen_evaluation(history, "same", 3) is history[2]
    assert chosen_evaluation(history, "same", 9) is None
    assert chosen_evaluation([], "newest") is None
    assert chosen_evaluation([at(1, AP_r=1.0)], "best") is None  # none without AP is the best


def test_the_same_epoch_is_the_last_that_all_evaluated_runs_have() -> None:
    long, short = [at(n) for n in (2, 4, 6, 8)], [at(n) for n in (1, 2, 3, 4, 5)]
    assert same_epoch([long, short]) == 4
    assert same_epoch([long, []]) == 8  # a run without any evaluation holds nobody back
    assert same_epoch([[at(1)], [at(2)]]) is None
    assert same_epoch([]) is None


def test_differences_to_the_baseline_as_in_the_paper() -> None:
    assert cells(TABLE[0]) == [("19.3", ""), ("1.2", ""), ("17.4", ""), ("29.3", "")]
    assert cells(TABLE[1]) == [("22.6", "+3.3"), ("10.2", "+9.0"), ("21.6", "+4.2"),
                               ("29.2", "−0.1")]  # fmt: skip


def test_missing_values_are_a_dash_and_make_no_difference() -> None:
    partly = Result(3, "partly", at(1, AP=20.0))
    none = Result(4, "none", None)
    table = with_differences([Result(1, "baseline", at(1, AP=19.0, AP_r=1.0)), partly, none], 1)
    assert cells(table[1]) == [("20.0", "+1.0"), ("–", ""), ("–", ""), ("–", "")]
    assert cells(table[2]) == [("–", "")] * 4
    without = with_differences([none, partly], 4)  # a baseline that was never evaluated
    assert cells(without[1])[0] == ("20.0", "")
    assert with_differences([partly], None) == [partly]


@pytest.mark.parametrize(
    ("difference", "text"),
    [(4.66, "+4.7"), (-0.26, "−0.3"), (0.04, "0.0"), (-0.04, "0.0"), (0.0, "0.0"), (12.0, "+12.0")],
)
def test_differences_carry_their_sign_but_zero_none(difference: float, text: str) -> None:
    assert signed(difference) == text


def test_markdown_of_the_whole_table() -> None:
    assert markdown(TABLE, "Mask AP in percent.") == (
        "| Run | Epochs | AP | AP_r | AP_c | AP_f |\n"
        "|:---|---:|---:|---:|---:|---:|\n"
        "| baseline | 24 | 19.3 | 1.2 | 17.4 | 29.3 |\n"
        "| FASA | 24 | 22.6 (+3.3) | 10.2 (+9.0) | 21.6 (+4.2) | 29.2 (−0.1) |\n"
        "\n"
        "Mask AP in percent.\n"
    )


def test_latex_of_the_whole_table() -> None:
    table = [*TABLE, Result(3, "queued", None)]
    assert latex(table, "Mask AP\n\\input{x}") == (
        "% Mask AP \\input{x}\n"
        "% needs \\usepackage{booktabs}\n"
        "\\begin{tabular}{lrllll}\n"
        "\\toprule\n"
        "Run & Epochs & AP & AP$_r$ & AP$_c$ & AP$_f$ \\\\\n"
        "\\midrule\n"
        "baseline & 24 & 19.3 & 1.2 & 17.4 & 29.3 \\\\\n"
        "FASA & 24 & 22.6 {\\footnotesize (+3.3)} & 10.2 {\\footnotesize (+9.0)} & "
        "21.6 {\\footnotesize (+4.2)} & 29.2 {\\footnotesize ($-$0.1)} \\\\\n"
        "queued & -- & -- & -- & -- & -- \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


def test_names_are_text_in_markdown_latex_and_html() -> None:
    name = "a|b*c_d`<b>\\e\n100% & $5 {x} #1 ~^"
    assert markdown_text(name) == ("a\\|b\\*c\\_d\\`\\<b\\>\\\\e 100% \\& \\$5 \\{x\\} \\#1 \\~^")
    assert latex_text(name) == (
        "a\\textbar{}b*c\\_d`\\textless{}b\\textgreater{}\\textbackslash{}e 100\\% \\& \\$5 "
        "\\{x\\} \\#1 \\textasciitilde{}\\textasciicircum{}"
    )
    assert latex_text("α 1.3, β × 2") == r"$\alpha$ 1.3, $\beta$ $\times$ 2"
    table = result_table([Result(1, "<b onclick=x>", None)], {1: Look(INK)}, "<i>", dark=False)
    assert "&lt;b onclick=x&gt;" in table
    assert "&lt;i&gt;" in table
    assert "<b" not in table


def test_a_name_that_occurs_twice_says_its_number() -> None:
    assert unique_names([(1, "demo"), (2, "demo"), (3, "other"), (4, " \n ")]) == [
        "demo (run 1)", "demo (run 2)", "other", "run 4"]  # fmt: skip


def test_the_sentence_says_when_and_against_what() -> None:
    assert heading("segm", "newest", None, "") == (
        "Mask AP in percent at each run's newest evaluation."
    )
    assert heading("bbox", "same", 8, "demo") == (
        "Box AP in percent after 8 epochs; in parentheses the difference to demo."
    )


def test_different_lengths_of_training_are_warned_of() -> None:
    long, short = [at(1), at(12)], [at(1), at(8)]
    told = warning({"a": long, "b": short, "queued": []}, "newest")
    assert "different numbers of epochs (a: 12, b: 8)" in told
    assert warning({"a": long, "b": long}, "best") == ""
    assert warning({"a": long, "b": short}, "same") == ""  # both have epoch 1
    assert "no number of epochs" in warning({"a": [at(1)], "b": [at(2)]}, "same")
    assert warning({"a": long, "queued": []}, "newest") == ""
