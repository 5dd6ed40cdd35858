"""Long curves thinned inside SQLite: highs, lows and both ends stay; checked by hand."""

import math
import re

import numpy as np
import pytest
from browser.synthetic_log import SyntheticRun
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import open_for_reading


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    run = SyntheticRun(tmp_path_factory.mktemp("runs"), classes=2)
    run.start()
    return run


def write(run: SyntheticRun, name: str, values: list[float], first_step: int = 0) -> RunLogReader:
    assert run.writer
    for step, value in enumerate(values, start=first_step):
        run.writer.scalars({name: value}, step=step, epoch=0)
    assert run.writer.flush()
    return RunLogReader(run.path)


def test_of_each_stretch_the_lowest_and_the_highest_stay(runs: SyntheticRun) -> None:
    # 12 values, at most 6: stretches of 4 steps (2 x 12 / 6).
    values = [5, 1, 3, 9, 2, 2, 8, 4, 7, 0, 6, 6.5]
    with write(runs, "hand", values, first_step=100) as reader:
        rows = reader.scalars(runs.id, ["hand"], most=6)
        kept = [(row.step, row.value) for row in rows]
        # 101 and 103; 104 (or 105, alike) and 106; 109 and 108; both ends: 100 and 111.
        assert [(s, v) for s, v in kept if s not in (104, 105)] == [
            (100, 5), (101, 1), (103, 9), (106, 8), (108, 7), (109, 0), (111, 6.5),
        ]  # fmt: skip
        assert [v for s, v in kept if s in (104, 105)] == [2]
        assert reader.scalars(runs.id, ["hand"], most=12) == reader.scalars(runs.id, ["hand"])
        newest = rows[-1].id
        assert reader.scalars(runs.id, ["hand"], after=newest, most=6) == []
        after = reader.scalars(runs.id, ["hand"], after=rows[0].id, most=6)
        assert after[0].step == 101


def test_a_stretch_without_numbers_stays_a_gap(runs: SyntheticRun) -> None:
    with write(runs, "gap", [1.0] * 10 + [math.nan] * 30 + [2.0] * 10) as reader:
        rows = reader.scalars(runs.id, ["gap"], most=10)
        assert any(math.isnan(row.value) for row in rows if 10 <= row.step < 40)
        assert not any(math.isnan(row.value) for row in rows if row.step < 10)


@settings(max_examples=15, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60), most=st.integers(1, 30))
def test_thinning_keeps_the_extremes_and_the_ends(
    runs: SyntheticRun, values: list[float], most: int
) -> None:
    name = f"random {hash((tuple(values), most))}"
    with write(runs, name, values) as reader:
        rows = reader.scalars(runs.id, [name], most=most)
    assert [row.id for row in rows] == sorted({row.id for row in rows})
    assert (rows[0].step, rows[-1].step) == (0, len(values) - 1)
    kept = [row.value for row in rows]
    assert (min(kept), max(kept)) == (min(values), max(values))
    assert len(rows) <= max(most, 2) + 4
    assert all(row.value == np.float64(values[row.step]) for row in rows)


def test_thinning_goes_through_the_index(runs: SyntheticRun) -> None:
    with write(runs, "planned", [float(step % 7) for step in range(50)]) as reader:
        statements: list[str] = []
        watched = open_for_reading(runs.path)
        watched.set_trace_callback(statements.append)
        reader._idle.append(watched)
        reader.scalars(runs.id, ["planned", "hand"], most=12)
        watched.set_trace_callback(None)
        asked = [text for text in statements if text not in ("BEGIN", "ROLLBACK")]
        assert len(asked) == 4  # lengths, short curves, ends of the long one, the long one
        for statement in asked:
            steps = [row[3] for row in watched.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert not [step for step in steps if re.search(r"SCAN (?!json_each)", step)], steps
