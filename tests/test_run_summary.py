"""What a run's summary says of its evaluations, from a real log that grows."""

import time
from pathlib import Path

import pytest
from browser.synthetic_log import SyntheticRun

from app.run_summary import Summaries, precision
from trainer.run_log.reader import RunLogReader


def test_precision_says_how_far_it_went_since_the_evaluation_before() -> None:
    latest = {"segm/AP": 19.2, "segm/AP_r": 13.0, "bbox/AP": 21.0}
    found = precision("segm", latest, {"segm/AP": 18.0})
    assert found["AP"] == 19.2
    assert found["AP_change"] == pytest.approx(1.2)
    assert (found["AP_r"], found["AP_r_change"]) == (13.0, None)  # the first evaluation
    nan = float("nan")
    broken = precision("segm", {"segm/AP": nan, "segm/AP_r": 2.0}, {"segm/AP_r": nan})
    assert set(broken.values()) == {None, 2.0}


def test_summaries_remember_the_evaluation_before_across_reads(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path, epochs=3, steps_per_epoch=2)
    writer = run.start()
    reader = RunLogReader(run.path)
    summaries = Summaries(reader)
    seen: list[float] = []
    for _ in range(2):
        run.advance(2)
        assert writer.flush()
        summary = summaries.of(reader.run(run.id), time.time())
        seen.append(summary["AP_r"])
        if len(seen) == 1:
            assert summary["AP_r_change"] is None
    assert summary["AP_r_change"] == pytest.approx(seen[1] - seen[0])
    writer.close()
