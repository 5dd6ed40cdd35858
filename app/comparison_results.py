"""The result table of several runs: figures of an evaluation, differences to a baseline. Pure.

As in the paper's tables: percent with one decimal, the difference in parentheses behind it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.precision_figures import SETS, Measure, subscript
from trainer.run_log.rows import ScalarRow

Moment = Literal["newest", "best", "same"]

COLUMNS = SETS["groups"].names
"""The usual columns of a table: AP, AP_r, AP_c, AP_f."""
MISSING = "–"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one run.

    Attributes:
        epochs: epochs done by then.
        values: column to value in percent; a missing or NaN one is not there.
    """

    step: int
    epochs: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """A row of the table; `evaluation` is None when the run has none to show."""

    run_id: int
    name: str
    evaluation: Evaluation | None
    differences: Mapping[str, float] = field(default_factory=dict)


def scalar_names(measure: Measure, columns: Sequence[str] = COLUMNS) -> list[str]:
    """The scalars a table is made of, with AP, which says which evaluation is the best."""
    return [f"{measure}/{column}" for column in dict.fromkeys(("AP", *columns))]


def evaluations(
    rows: Sequence[ScalarRow], measure: Measure, columns: Sequence[str] = COLUMNS
) -> list[Evaluation]:
    """The evaluations of one run in the order of their steps, from its scalar rows."""
    found: dict[int, tuple[int, dict[str, float]]] = {}
    wanted = {name: name.partition("/")[2] for name in scalar_names(measure, columns)}
    for row in rows:
        if row.name in wanted:
            _, values = found.setdefault(row.step, (row.epoch, {}))
            if math.isfinite(row.value):
                values[wanted[row.name]] = row.value
    return [Evaluation(step, epoch + 1, values) for step, (epoch, values) in sorted(found.items())]


def same_epoch(histories: Sequence[Sequence[Evaluation]]) -> int | None:
    """The last number of epochs after which all runs that were ever evaluated have been."""
    known = [{evaluation.epochs for evaluation in history} for history in histories if history]
    return max(set.intersection(*known), default=None) if known else None


def chosen_evaluation(
    history: Sequence[Evaluation], moment: Moment, same: int | None = None
) -> Evaluation | None:
    """The evaluation a table shows: the newest, the one with the highest AP, or that of one epoch.

    Args:
        history: one run's evaluations, oldest first.
        same: with moment "same", the number of epochs done.
    """
    if moment == "same":
        return next((e for e in reversed(history) if e.epochs == same), None)
    if moment == "best":
        with_ap = [e for e in history if "AP" in e.values]
        return max(with_ap, key=lambda e: e.values["AP"], default=None)  # of equal ones the first
    return history[-1] if history else None


def with_differences(results: Sequence[Result], baseline: int | None) -> list[Result]:
    """The rows with their differences to the baseline's row, where both have a value.

    The difference of the values themselves is rounded, not that of the rounded values.
    """
    base = next((row for row in results if row.run_id == baseline), None)
    against = base.evaluation.values if base and base.evaluation else {}
    return [
        row
        if row.evaluation is None or row is base
        else Result(row.run_id, row.name, row.evaluation, {
            column: value - against[column]
            for column, value in row.evaluation.values.items() if column in against
        })
        for row in results
    ]  # fmt: skip


def unique_names(runs: Sequence[tuple[int, str]]) -> list[str]:
    """Names for (id, name) in one table; one that occurs twice says its run's number."""
    names = [_one_line(name) or f"run {run_id}" for run_id, name in runs]
    return [
        name if names.count(name) == 1 else f"{name} (run {run_id})"
        for (run_id, _), name in zip(runs, names, strict=True)
    ]


def number(value: float | None) -> str:
    """A value in percent with one decimal; a dash when there is none."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.1f}"


def signed(difference: float) -> str:
    """A difference with its sign and one decimal: '+4.7', '−0.3', '0.0'."""
    text = f"{abs(difference):.1f}"
    if float(text) == 0:
        return text
    return ("+" if difference > 0 else "−") + text


def cells(row: Result, columns: Sequence[str] = COLUMNS) -> list[tuple[str, str]]:
    """Value and difference (maybe "") of each column as text."""
    values = row.evaluation.values if row.evaluation else {}
    return [
        (number(values.get(column)),
         signed(row.differences[column]) if column in row.differences else "")
        for column in columns
    ]  # fmt: skip


def epochs_text(row: Result) -> str:
    """After how many epochs a row's values were measured."""
    return str(row.evaluation.epochs) if row.evaluation else MISSING


def heading(measure: Measure, moment: Moment, same: int | None, baseline: str) -> str:
    """What the table shows, in one sentence."""
    of = "Mask" if measure == "segm" else "Box"
    at = {
        "newest": "at each run's newest evaluation",
        "best": "at the epoch with each run's highest AP",
        "same": f"after {same} epochs" if same else "after the same number of epochs",
    }[moment]
    against = f"; in parentheses the difference to {baseline}" if baseline else ""
    return f"{of} AP in percent {at}{against}."


def warning(histories: Mapping[str, Sequence[Evaluation]], moment: Moment) -> str:
    """What makes the rows of the table hard to compare, in one sentence; "" when nothing does."""
    known = {name: history for name, history in histories.items() if history}
    if len(known) < 2:
        return ""
    if moment == "same":
        if same_epoch(list(known.values())) is None:
            return "There is no number of epochs after which all of these runs were evaluated."
        return ""
    done = {name: history[-1].epochs for name, history in known.items()}
    if len(set(done.values())) == 1:
        return ""
    told = ", ".join(f"{name}: {epochs}" for name, epochs in done.items())
    return (
        f"These runs have trained for different numbers of epochs ({told}): "
        "choose 'same epoch' for a fair comparison."
    )


def markdown(rows: Sequence[Result], sentence: str, columns: Sequence[str] = COLUMNS) -> str:
    """The table in Markdown, with a sentence below it."""
    lines = [
        "| " + " | ".join(["Run", "Epochs", *columns]) + " |",
        "|:---|---:" + "|---:" * len(columns) + "|",
    ]
    for row in rows:
        pairs = cells(row, columns)
        texts = [f"{value} ({change})" if change else value for value, change in pairs]
        line = [markdown_text(row.name), epochs_text(row), *texts]
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join([*lines, "", markdown_text(sentence)]) + "\n"


def latex(rows: Sequence[Result], sentence: str, columns: Sequence[str] = COLUMNS) -> str:
    """The table in LaTeX, for the package booktabs."""
    lines = [
        f"% {_one_line(sentence)}",
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{lr" + "l" * len(columns) + "}",
        r"\toprule",
        " & ".join(["Run", "Epochs", *map(_latex_figure, columns)]) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        texts = [
            latex_number(value)
            + (rf" {{\footnotesize ({latex_number(change)})}}" if change else "")
            for value, change in cells(row, columns)
        ]
        line = [latex_text(row.name), latex_number(epochs_text(row)), *texts]
        lines.append(" & ".join(line) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_figure(name: str) -> str:
    stem, below = subscript(name)
    if not below:
        return stem
    return f"{stem}$_{below}$" if len(below) == 1 else rf"{stem}$_{{\mathrm{{{below}}}}}$"


def markdown_text(text: str) -> str:
    """Any text so that Markdown shows it as it is, also in a cell of a table."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$!&])", r"\\\1", _one_line(text))


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    **{sign: "\\" + sign for sign in "{}$&#%_"},
    "α": r"$\alpha$", "β": r"$\beta$", "×": r"$\times$", "−": "$-$",
}  # fmt: skip


def latex_text(text: str) -> str:
    """Any text so that LaTeX prints it as it is."""
    return "".join(_LATEX.get(sign, sign) for sign in _one_line(text))


def latex_number(text: str) -> str:
    """A number of the table in LaTeX's signs."""
    return text.replace("−", "$-$").replace(MISSING, "--")


def _one_line(text: str) -> str:
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.split())
