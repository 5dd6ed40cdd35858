"""The sparklines of the run list: few points, nothing lost that matters, nothing read twice."""

import json
from pathlib import Path

import pytest
from browser.synthetic_log import SyntheticRun

from app.sparklines import MOST_POINTS, Sparklines, kept_steps, sparkline
from trainer.run_log.commands import set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import ScalarRow

NAN = float("nan")


def test_points_are_where_the_run_was_and_what_it_had() -> None:
    values = {
        "segm/AP": {66: 4.726, 132: NAN, 198: 12.04}, "segm/AP_r": {66: 0.1, 198: 3.25},
        "bbox/AP": {66: 9.0},
    }  # fmt: skip
    assert sparkline(values, 792) == {
        "at": [83, 167, 250], "AP": [4.7, None, 12.0], "AP_r": [0.1, None, 3.2],
    }  # fmt: skip
    assert sparkline({"bbox/AP": {5: 1.0}}, 10) == {"at": [500], "AP": [1.0], "AP_r": [None]}
    assert sparkline({}, 0) == {"at": [], "AP": [], "AP_r": []}


def test_a_long_run_is_thinned_and_keeps_its_ends_its_high_and_its_low() -> None:
    points = {step: float(step % 7) for step in range(10, 5010)}
    points[1234], points[3210] = 99.0, -1.0
    kept = kept_steps(points)
    assert len(kept) <= MOST_POINTS
    assert {10, 5009, 1234, 3210} <= set(kept)
    assert kept == sorted(set(kept))
    assert kept_steps(dict.fromkeys(range(MOST_POINTS), NAN)) == list(range(MOST_POINTS))
    assert len(kept_steps(dict.fromkeys(range(500), NAN))) == MOST_POINTS - 2


def test_a_run_is_read_on_and_an_ended_one_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SyntheticRun(tmp_path, classes=4, epochs=3, steps_per_epoch=5)
    writer = run.start()
    run.advance(6)
    assert writer.flush()
    with RunLogReader(run.path) as reader:
        lines = Sparklines(reader)
        assert len(lines.of(reader.run(1))["at"]) == 1
        run.advance(5)
        writer.close()
        set_status(run.path, run.id, "stopped")
        assert len(lines.of(reader.run(1))["at"]) == 2
        asked: list[int] = []

        def scalars(run_id: int, *rest: object, **options: object) -> list[ScalarRow]:
            asked.append(run_id)
            return []

        monkeypatch.setattr(reader, "scalars", scalars)
        assert len(lines.of(reader.run(1))["at"]) == 2
        assert asked == []
        set_status(run.path, run.id, "queued")  # resumed
        lines.of(reader.run(1))
        assert asked == [1]


def test_a_run_costs_the_list_little() -> None:
    points = {66 * step: 20 + step % 9 / 7 for step in range(1, 300)}
    line = sparkline({"segm/AP": points, "segm/AP_r": points}, 66 * 300)
    assert len(json.dumps(line, separators=(",", ":"))) < 700
