"""The tables of the page Compare as HTML. Pure; every text is escaped, wherever it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from app import comparison_measures
from app.comparison_config import Difference, label
from app.comparison_measures import Measured
from app.comparison_results import COLUMNS, Result, cells, epochs_text
from app.looks import Look
from app.precision_figures import subscript

STYLE = """<style>
.fasa-compare { overflow-x: auto; }
.fasa-compare table { border-collapse: collapse; font-size: 0.875rem; }
.fasa-compare p { margin: 0.35rem 0 0; opacity: 0.75; font-size: 0.8rem; }
.fasa-compare :is(th, td) { padding: 0.25rem 0.8rem 0.25rem 0; text-align: left;
  font-weight: 400; vertical-align: baseline; overflow-wrap: anywhere; min-width: 3.2rem;
  max-width: 22rem; border-bottom: 1px solid color-mix(in srgb, currentColor 16%, transparent); }
.fasa-compare thead :is(th, td) { font-weight: 600; }
.fasa-compare .number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.fasa-compare a { color: inherit; text-decoration-color: color-mix(in srgb, currentColor 35%,
  transparent); }
.fasa-compare small { opacity: 0.75; }
.fasa-compare .number small { display: inline-block; min-width: 3.6em; }
.fasa-compare img { vertical-align: -2px; margin-right: 0.4rem; }
.fasa-compare .run { white-space: nowrap; }
@media (max-width: 640px) { .fasa-compare .run { white-space: normal;
  min-width: 6rem; }
  .fasa-compare .run img { display: block; } .fasa-compare .number small { display: block; } }
</style>"""

# Plotly's dashes as an SVG's; and its markers as paths around 0, 0.
DASHES = {"solid": "", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3", "longdash": "11 4",
          "longdashdot": "11 3 2 3"}  # fmt: skip
MARKERS = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
    "square": "M-3.5 -3.5h7v7h-7z",
    "diamond": "M0 -5L5 0L0 5L-5 0z",
    "triangle-up": "M0 -5L5 4H-5z",
    "triangle-down": "M0 5L5 -4H-5z",
    "cross": "M-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "x": "M-4 -2L-2 -4L0 -2L2 -4L4 -2L2 0L4 2L2 4L0 2L-2 4L-4 2L-2 0z",
    "star": "M0 -5L1.5 -1.6L5 -1.5L2.2 0.8L3.2 4.5L0 2.3L-3.2 4.5L-2.2 0.8L-5 -1.5L-1.5 -1.6z",
}


def swatch(look: Look, color: str) -> str:
    """A line as it looks in the charts: colour, dash and marker; a picture that needs no address.

    As a picture, since Streamlit takes SVG's own elements out of a page.
    """
    dash = DASHES.get(look.dash, look.dash.replace("px", "").replace(",", " "))
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-19 -6 38 12">'
        f'<path d="M-19 0H19" stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"/>'
        f'<path d="{MARKERS[look.symbol]}" fill="{color}"/></svg>'
    )
    return f'<img width="38" height="12" alt="" src="data:image/svg+xml,{quote(drawing)}">'


def run_cell(name: str, look: Look, *, dark: bool) -> str:
    """A run's name behind the look it has in the charts."""
    return swatch(look, look.color.dark if dark else look.color.light) + escape(name)


def run_link(row: Result | Measured, look: Look, *, dark: bool) -> str:
    """The same, leading to the run's page."""
    cell = run_cell(row.name, look, dark=dark)
    return f'<a href="run?run={int(row.run_id)}" target="_self">{cell}</a>'


def result_table(
    rows: Sequence[Result],
    looks: Mapping[int, Look],
    sentence: str,
    columns: Sequence[str] = COLUMNS,
    *,
    dark: bool,
) -> str:
    """Figures of an evaluation, a row a run."""
    head = "".join(
        f'<th scope="col" class="number">{_subscript(name)} <small></small></th>'
        for name in columns
    )
    head = f'<th scope="col" class="number">epochs</th>{head}'
    lines = []
    for row in rows:
        numbers = "".join(
            f'<td class="number">{value} <small>{f"({change})" if change else ""}</small></td>'
            for value, change in cells(row, columns)
        )
        lines.append(
            f'<tr><th scope="row" class="run">{run_link(row, looks[row.run_id], dark=dark)}'
            f'</th><td class="number">{epochs_text(row)}</td>{numbers}</tr>'
        )
    return _table(f'<td class="run">run</td>{head}', lines, sentence, "Results")


def measures_table(rows: Sequence[Measured], looks: Mapping[int, Look], *, dark: bool) -> str:
    """The newest measures of the features, a row a run."""
    head = "".join(
        f'<th scope="col" class="number">{escape(heading)} <small></small></th>'
        for heading, _, _ in comparison_measures.COLUMNS
    )
    lines = []
    for row in rows:
        numbers = "".join(
            f'<td class="number">{value} <small>({rare})</small></td>' for value, rare in row.cells
        )
        lines.append(
            f'<tr><th scope="row" class="run">{run_link(row, looks[row.run_id], dark=dark)}'
            f'</th><td class="number">{row.epochs}</td>{numbers}</tr>'
        )
    head = f'<td class="run">run</td><th scope="col" class="number">epochs</th>{head}'
    return _table(head, lines, comparison_measures.SENTENCE, "Features")


def config_table(
    found: Sequence[Difference],
    runs: Sequence[tuple[str, Look]],
    sentence: str,
    *,
    dark: bool,
) -> str:
    """The knobs in which the runs differ, a row a knob."""
    head = "".join(
        f'<th scope="col" class="run">{run_cell(name, look, dark=dark)}</th>' for name, look in runs
    )
    lines = []
    for difference in found:
        known = difference.unit in ("", difference.knob)  # 'epochs' are counted in epochs
        unit = "" if known else f" <small>{escape(difference.unit)}</small>"
        values = "".join(f"<td>{escape(value)}</td>" for value in difference.values)
        lines.append(
            f'<tr><th scope="row" title="{escape(difference.meaning)}">'
            f"{escape(label(difference.knob))}{unit}</th>{values}</tr>"
        )
    return _table(f"<td>setting</td>{head}", lines, sentence, "Differences of configuration")


def _subscript(name: str) -> str:
    stem, below = subscript(name)
    return f"{stem}<sub>{below}</sub>" if below else stem


def _table(head: str, lines: Sequence[str], sentence: str, name: str) -> str:
    return (
        f'{STYLE}<div class="fasa-compare" role="region" aria-label="{name}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        f"<p>{escape(sentence)}</p></div>"
    )
