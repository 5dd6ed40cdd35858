"""The route of the diagnosis, on run logs written by the real writer; and what it costs."""

import os
import sqlite3
import statistics
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.synthetic_log import SyntheticRun
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.live_data import LiveData
from app.source import Source
from trainer.run_log.newest import newest_scalars
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import FILE_NAME
from trainer.run_log.transaction import reading, writing_problem

EPOCH = 20  # steps


def client(folder: Path) -> TestClient:
    return TestClient(Starlette(routes=LiveData(Source(folder / FILE_NAME)).routes()))


def diagnosis(folder: Path, run: int = 1, asked: TestClient | None = None) -> dict[str, Any]:
    answer = (asked or client(folder)).get(f"/live/runs/{run}/diagnosis")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def keys(folder: Path, asked: TestClient | None = None) -> dict[str, str]:
    """Key to severity of what is found."""
    findings = diagnosis(folder, asked=asked)["findings"]
    return {finding["key"]: finding["severity"] for finding in findings}


def started(folder: Path, steps: int, **values: Any) -> SyntheticRun:
    run = SyntheticRun(folder, epochs=6, steps_per_epoch=EPOCH, **values)
    run.start()
    run.advance(steps)
    assert run.writer
    assert run.writer.flush()
    return run


def put(run: SyntheticRun, **vectors: Any) -> None:
    """A snapshot at the step the run has reached."""
    assert run.writer
    run.writer.class_vectors(vectors, step=run.step, epoch=run.epoch)
    assert run.writer.flush()


def test_a_well_run_has_no_findings_and_says_what_was_checked(tmp_path: Path) -> None:
    started(tmp_path, 3 * EPOCH + 5)
    answer = diagnosis(tmp_path)
    assert answer["findings"] == []
    assert {"heartbeat", "losses finite", "classes seen", "disk"} <= set(answer["checked"])
    assert "memory" in answer["not_yet"]


def test_a_new_run_waits_for_its_first_epoch(tmp_path: Path) -> None:
    started(tmp_path, 0)
    answer = diagnosis(tmp_path)
    assert answer["findings"] == []
    assert {"validation pass", "classes seen", "data loading"} <= set(answer["not_yet"])


def test_what_the_trainer_writes_is_what_is_judged(tmp_path: Path) -> None:
    """Names of curves and fields as the real trainer has them, each wrong in turn."""
    run = started(tmp_path, 2 * EPOCH + 5)
    assert run.writer
    here = {"step": run.step, "epoch": run.epoch}
    asked = client(tmp_path)
    groups = {"eps": 1.0, "eps_quantile": 0.5, "num_groups": 2, "groups": []}
    run.writer.adaptation({**groups, "noise_share": 0.2, "largest_group": 10}, **here)
    put(run, observed_rois=np.where(np.arange(60) < 2, 0, 500).astype(np.int32))
    assert keys(tmp_path, asked) == {"never_observed": "warn"}
    put(run, observed_rois=np.full(60, 600, np.int32), probability=np.ones(60, np.float32))
    assert keys(tmp_path, asked) == {"probability_at_one": "warn"}
    put(run, probability=run.probability, validation_loss=np.full(60, np.nan, np.float32))
    assert keys(tmp_path, asked) == {"validation_missing": "bad"}
    put(run, validation_loss=np.ones(60, np.float32))
    run.writer.adaptation({**groups, "noise_share": 0.7, "largest_group": 40}, **here)
    low = {"system/memory_mb": 900.0, "system/memory_available_mb": 90.0}
    run.writer.scalars({**low, "loss/box": float("nan")}, **here)
    for step in range(40):
        run.writer.scalars({"loader_seconds": 1.0}, step=step, epoch=run.epoch)
    assert run.writer.flush()
    assert keys(tmp_path, asked) == {
        "noise": "note", "one_group": "note", "memory_low": "bad", "loss_not_finite": "bad",
        "data_starvation": "warn",
    }  # fmt: skip


def test_virtual_features_without_real_ones_over_epochs(tmp_path: Path) -> None:
    run = started(tmp_path, EPOCH)
    asked = client(tmp_path)
    run.snapshot = lambda epoch=None: None  # type: ignore[method-assign]
    still = np.full(60, 500, np.int32)
    for _ in range(3):  # at 1, 2 and 3 epochs
        put(run, observed_rois=still, virtual_features=np.full(60, run.step, np.int32))
        assert "virtual_only" not in keys(tmp_path, asked)
        run.advance(EPOCH)
    put(run, observed_rois=still, virtual_features=np.full(60, run.step, np.int32))
    found = {f["key"]: f for f in diagnosis(tmp_path, asked=asked)["findings"]}
    assert found["virtual_only"]["number"].startswith("60 of 60 classes")


def test_a_silent_trainer_and_a_locked_log_are_told_apart(tmp_path: Path) -> None:
    run = started(tmp_path, 5)
    assert run.writer
    run.writer.close()
    path = tmp_path / FILE_NAME
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE runs SET heartbeat = heartbeat - 60")
    assert keys(tmp_path) == {"silent": "bad"}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert keys(tmp_path) == {"log_not_writable": "bad"}
        (finding,) = diagnosis(tmp_path)["findings"]
        assert "locked by another program" in finding["text"]
        connection.execute("ROLLBACK")
    assert keys(tmp_path) == {"silent": "bad"}


def test_looking_for_the_lock_writes_nothing_and_gives_it_back(tmp_path: Path) -> None:
    started(tmp_path, 5)
    path = tmp_path / FILE_NAME
    with RunLogReader(path) as reader:
        before = reader.run(1).step
        assert writing_problem(path) is None
        assert writing_problem(path) is None  # it was given back
        assert reader.run(1).step == before
    missing = writing_problem(tmp_path / "none" / FILE_NAME)
    assert missing is not None
    assert "cannot be opened" in missing


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_log_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    run = started(tmp_path, 5)
    assert run.writer
    run.writer.close()
    (tmp_path / FILE_NAME).chmod(0o400)
    problem = writing_problem(tmp_path / FILE_NAME)
    assert problem is not None


def test_errors_are_sentences(tmp_path: Path) -> None:
    asked = client(tmp_path)
    assert asked.get("/live/runs/1/diagnosis").status_code == 503
    started(tmp_path, 5)
    answer = asked.get("/live/runs/99/diagnosis")
    assert (answer.status_code, answer.headers["content-type"][:10]) == (404, "text/plain")


def test_a_foreign_runs_odd_vectors_and_configuration_break_nothing(tmp_path: Path) -> None:
    run = started(tmp_path, 2 * EPOCH)
    assert run.writer
    run.writer.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE class_vectors SET data = zeroblob(12), dtype = 'int32'")
        connection.execute('UPDATE runs SET config = \'{"keep_every": "often"}\'')
    assert isinstance(diagnosis(tmp_path)["findings"], list)


def test_when_a_run_goes_back_what_was_remembered_is_forgotten(tmp_path: Path) -> None:
    run = started(tmp_path, 5 * EPOCH)
    asked = client(tmp_path)
    assert "virtual_only" not in keys(tmp_path, asked)
    assert "priors fresh" in diagnosis(tmp_path, asked=asked)["checked"]
    run.go_back(2 * EPOCH)
    assert run.writer
    run.progress("training")
    assert run.writer.flush()
    assert "priors fresh" in diagnosis(tmp_path, asked=asked)["not_yet"]


def test_the_end_of_a_curve_is_read_without_its_beginning(tmp_path: Path) -> None:
    run = started(tmp_path, 50)
    assert run.writer
    run.writer.scalars({"loss/total": float("nan")}, step=51, epoch=2)
    assert run.writer.flush()
    with reading(tmp_path / FILE_NAME) as connection:
        rows = newest_scalars(connection, 1, "loss/total", 3)
        assert [row.step for row in rows] == [49, 50, 51]
        assert np.isnan(rows[-1].value)
        assert np.isfinite(rows[0].value)
        assert newest_scalars(connection, 1, "no such curve", 3) == []
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT value FROM scalars WHERE run_id = 1 AND name = 'x'"
            " ORDER BY id DESC LIMIT 3"
        ).fetchall()
    assert "scalars_by_name" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


def test_it_costs_a_few_milliseconds_with_1203_classes(tmp_path: Path) -> None:
    """Without HTTP: twenty diagnoses of a run with 1,203 classes, from four threads."""
    run = SyntheticRun(tmp_path, classes=1203, epochs=12, steps_per_epoch=200, snapshot_every=5)
    run.start()
    run.advance(1000)
    assert run.writer
    assert run.writer.flush()
    asked = client(tmp_path)
    diagnosis(tmp_path, asked=asked)
    seconds = []
    for _ in range(20):
        begun = time.perf_counter()
        diagnosis(tmp_path, asked=asked)
        seconds.append(time.perf_counter() - begun)
    assert statistics.median(seconds) < 0.05  # some 8 ms on an idle machine, HTTP client included
    threads = [threading.Thread(target=diagnosis, args=(tmp_path, 1, asked)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"median {1e3 * statistics.median(seconds):.1f} ms")
