"""What is read from a real run log about an adaptation: which snapshots are before and after it."""

from pathlib import Path

import numpy as np
import pytest
from browser.adapted_log import AdaptedRun

from app.class_charts import class_labels
from app.super_group_evidence import newest_settled, read_evidence
from app.super_group_history import Adaptation, read_adaptations
from app.why import explain
from app.why_evidence import Evidence, recomputed
from trainer.run_log.reader import RunLogReader

STEPS = 10  # an epoch; a snapshot falls on its last step, before the adaptation


def evidence(reader: RunLogReader, history: list[Adaptation], place: int) -> Evidence:
    run, categories = reader.run(1), reader.categories(1)
    names = class_labels(categories)
    return read_evidence(reader, run, categories, names, history, history[place])


def test_probabilities_and_losses_are_those_around_each_adaptation(tmp_path: Path) -> None:
    run = AdaptedRun(tmp_path, classes=40, epochs=5, steps_per_epoch=STEPS)
    run.start()
    p = [run.probability]
    for _ in range(4):
        run.advance(STEPS)
        p.append(run.probability)
    run.finish()
    with RunLogReader(run.path) as reader:
        history = read_adaptations(reader, reader.run(1))
        assert [one.epoch for one in history] == [1, 2, 3, 4, 5]
        for place, one in enumerate(history[:4]):
            found = evidence(reader, history, place)
            assert found.p_before is not None
            assert found.p_after is not None
            assert np.array_equal(found.p_before, p[place])
            assert np.array_equal(found.p_after, p[place + 1])
            for row in one.rows:
                before, after = recomputed(found, row)
                assert after == pytest.approx(row.loss_after, rel=1e-5)
                assert (row.loss_before is None) == np.isnan(before)
                assert np.isnan(before) or before == pytest.approx(row.loss_before, rel=1e-5)
            told = [explain(found, index).paragraph for index in range(40)]
            assert not any("were not written together" in text for text in told)
            assert not any("rows of this log are missing" in text for text in told)


def test_news_are_read_once_and_a_resumed_run_is_read_anew(tmp_path: Path) -> None:
    run = AdaptedRun(tmp_path, classes=40, epochs=5, steps_per_epoch=STEPS)
    writer = run.start()
    run.advance(2 * STEPS)
    assert writer.flush()
    with RunLogReader(run.path) as reader:
        first = read_adaptations(reader, reader.run(1))
        run.advance(STEPS)
        assert writer.flush()
        second = read_adaptations(reader, reader.run(1))
        assert second[:2] == first  # the same objects: not read again
        assert all(one is other for one, other in zip(first, second, strict=False))
        assert second[2].rows
        assert newest_settled(reader, reader.run(1), second) == second[2].summary.id
        run.go_back(STEPS)
        assert writer.flush()
        assert [one.epoch for one in read_adaptations(reader, reader.run(1))] == [1]
    writer.close()


def test_until_the_snapshot_after_it_comes_p_is_not_known(tmp_path: Path) -> None:
    run = AdaptedRun(tmp_path, classes=40, epochs=5, steps_per_epoch=STEPS)
    writer = run.start()
    run.advance(STEPS)
    group = {"group": 0, "members": [1, 2], "noise_members": [], "with_data": [1], "clamped": [],
             "loss_before": 2.0, "loss_after": 1.0, "factor": 1.1, "reason": "fell"}  # fmt: skip
    writer.adaptation({"num_groups": 1, "groups": [group]}, step=2 * STEPS, epoch=1)
    assert writer.flush()
    with RunLogReader(run.path) as reader:
        history = read_adaptations(reader, reader.run(1))
        assert newest_settled(reader, reader.run(1), history) == 0
        found = evidence(reader, history, 1)
        assert (found.p_after, found.losses_after) == (None, None)
        assert "holds no snapshot of p" in explain(found, 1).paragraph
    writer.close()
