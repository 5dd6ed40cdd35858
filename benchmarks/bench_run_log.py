"""The run log's three claims, each against the real file and real processes.

1. A snapshot of 1203 classes x 6 fields costs the training thread at most 0.2 ms at the 99th
   percentile while another process holds the write lock for 10 s.
2. The writer sustains at least 5 million class-values a second.
3. kill -9 loses at most the last 0.5 s and never corrupts.

Prints the numbers; exits 1 when a target is missed. The first claim is about wall-clock time, which
other busy programs lengthen: a call during which the system gave the core to another program is
counted apart (Linux tells), one that waited for a lock or for the log's own thread is not.
"""

import argparse
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import open_for_writing
from trainer.run_log.writer import RunLogWriter

NUM_CLASSES = 1203
LOCK_SECONDS = 10.0
TARGET_CALL_MS = 0.2
TARGET_VALUES_PER_SECOND = 5e6
TARGET_LOST_SECONDS = 0.5

Snapshot = dict[str, NDArray[Any]]


class Calls(NamedTuple):
    """Milliseconds each call took, and whether other programs had its core meanwhile."""

    times: NDArray[np.float64]
    preempted: NDArray[np.bool_]

    def report(self, when: str) -> float:
        """Print the distribution; returns the 99th percentile of the undisturbed calls."""
        p50, p99 = np.percentile(self.times[~self.preempted], [50, 99])
        print(
            f"   p50 {p50:.4f} ms, p99 {p99:.4f} ms of {len(self.times)} calls {when} "
            f"({int(self.preempted.sum())} calls that other programs interrupted left out; with "
            f"them p99 {np.percentile(self.times, 99):.4f} ms)"
        )
        return float(p99)


def make_snapshot(seed: int = 0) -> Snapshot:
    """Six fields [C], as the trainer sends them: two int32, four float32."""
    generator = np.random.default_rng(seed)
    snapshot: Snapshot = {
        name: generator.random(NUM_CLASSES, dtype=np.float32)
        for name in ("probability", "scale", "prior_norm", "prior_spread")
    }
    for name in ("observed_rois", "virtual_features"):
        snapshot[name] = generator.integers(0, 10**6, NUM_CLASSES, dtype=np.int32)
    return snapshot


def hold_lock(path: Path, seconds: float, locked: Any) -> None:
    connection = open_for_writing(path)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE runs SET phase = phase")
    locked.set()
    time.sleep(seconds)
    connection.execute("ROLLBACK")
    connection.close()


def training_step(activations: NDArray[np.float32]) -> None:
    """Some 5 ms that alternate between numpy without the GIL and plain Python, as training does."""
    for _ in range(50):
        np.sin(activations)
        sum(range(5000))


def preemptions() -> int:
    """How often the system has taken this thread's core away and given it to somebody else.

    Waiting for a lock, the GIL included, does not count: there the thread gives way itself.
    """
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def time_calls(writer: RunLogWriter, snapshot: Snapshot, seconds: float) -> Calls:
    """What each snapshot call took on the wall clock, one call a training step."""
    activations = np.ones(20_000, dtype=np.float32)
    times: list[float] = []
    preempted: list[bool] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        training_step(activations)
        before = preemptions()
        start = time.perf_counter()
        writer.class_vectors(snapshot, step=len(times), epoch=0)
        times.append(1000 * (time.perf_counter() - start))
        preempted.append(preemptions() > before)
    return Calls(np.array(times), np.array(preempted))


def bench_call(folder: Path) -> bool:
    path = folder / "call.sqlite"
    writer = RunLogWriter(path, queue_run(path, name="call", config={}, dataset="none"))
    snapshot = make_snapshot()
    context = multiprocessing.get_context("spawn")
    locked = context.Event()
    process = context.Process(target=hold_lock, args=(path, LOCK_SECONDS, locked))
    process.start()
    locked.wait()
    with_lock = time_calls(writer, snapshot, LOCK_SECONDS - 0.5)
    queued = writer.queued_bytes
    process.join()
    without_lock = time_calls(writer, snapshot, LOCK_SECONDS)  # first the backlog is committed
    writer.close()
    with RunLogReader(path) as reader:
        rows = sum(len(reader.class_vectors(1, field).ids) for field in snapshot)
    calls = len(with_lock.times) + len(without_lock.times)
    print(f"1. a snapshot of {NUM_CLASSES} classes x 6 fields costs the training thread")
    first = with_lock.report(f"while another process holds the lock for {LOCK_SECONDS:.0f} s")
    second = without_lock.report("while the backlog and then every new row is committed")
    worst = max(first, second)
    print(
        f"   {queued / 2**20:.0f} MiB waited in memory, {rows} of {6 * calls} rows are stored; "
        f"target p99 <= {TARGET_CALL_MS} ms ({TARGET_CALL_MS / worst:.1f} times better)"
    )
    return worst <= TARGET_CALL_MS and rows == 6 * calls


def bench_sustained(folder: Path, seconds: float) -> bool:
    path = folder / "sustained.sqlite"
    writer = RunLogWriter(path, queue_run(path, name="sustained", config={}, dataset="none"))
    snapshot, count = make_snapshot(), 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(20):
            count += 1
            writer.class_vectors(snapshot, step=count, epoch=0)
    stored = writer.flush(60.0)
    elapsed = time.perf_counter() - start
    writer.close()
    rate = count * 6 * NUM_CLASSES / elapsed
    with RunLogReader(path) as reader:
        complete = len(reader.class_vectors(1, "scale").ids) == count
    print(
        f"2. sustained: {rate / 1e6:.1f} million class-values a second over {elapsed:.1f} s, all "
        f"committed, file {path.stat().st_size / 2**20:.0f} MiB; target >= "
        f"{TARGET_VALUES_PER_SECOND / 1e6:.0f} million ({rate / TARGET_VALUES_PER_SECOND:.1f} "
        "times as many)"
    )
    return stored and complete and rate >= TARGET_VALUES_PER_SECOND


def write_until_killed(path: Path) -> None:
    """Write the steps after the last stored one, one every 2 ms or so, until killed."""
    with RunLogReader(path) as reader:
        steps = reader.class_vectors(1, "scale").steps
    step = int(steps[-1]) if len(steps) else 0
    writer = RunLogWriter(path, 1)
    snapshot = make_snapshot()
    while True:
        step += 1
        # The step is in the values too, so that a mixed-up row would be seen.
        snapshot["scale"][:] = step
        writer.class_vectors({"scale": snapshot["scale"]}, step=step, epoch=0)
        writer.scalars({"loss/total": float(step)}, step=step, epoch=0)
        time.sleep(0.002)


def damage(path: Path) -> str | None:
    """What is wrong with the killed run's file, or None."""
    connection = sqlite3.connect(path)
    verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    if verdict != "ok":
        return f"integrity_check says {verdict}"
    with RunLogReader(path) as reader:
        vectors, scalars = reader.class_vectors(1, "scale"), reader.scalars(1, ["loss/total"])
    expected = list(range(1, len(vectors.steps) + 1))
    if vectors.steps.tolist() != expected:
        return "steps of the snapshots are not 1, 2, 3, ..."
    if len(expected) and not (vectors.values == np.array(expected)[:, None]).all():
        return "a snapshot holds another step's values"
    # A snapshot and the scalars after it are two calls: the last may be there without its pair.
    if [row.step for row in scalars] not in (expected, expected[:-1]):
        return "steps of the scalars are not 1, 2, 3, ..."
    return None


def bench_kill(folder: Path, kills: int, seed: int) -> bool:
    path = folder / "kill.sqlite"
    queue_run(path, name="kill", config={}, dataset="none")
    context = multiprocessing.get_context("spawn")
    generator = random.Random(seed)
    lost, found = [], None
    for _ in range(kills):
        with RunLogReader(path) as reader:
            before = len(reader.scalars(1, ["loss/total"]))
        process = context.Process(target=write_until_killed, args=(path,))
        process.start()
        with RunLogReader(path) as reader:
            while len(reader.scalars(1, ["loss/total"])) == before:
                time.sleep(0.02)
        time.sleep(generator.uniform(0.0, 1.0))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        killed_at = time.time()
        process.join()
        found = found or damage(path)
        with RunLogReader(path) as reader:
            # Scalars may trail the last snapshot by one call: make the pair whole again.
            last = reader.scalars(1, ["loss/total"])[-1]
        lost.append(killed_at - last.wall_time)
        connection = open_for_writing(path)
        connection.execute("DELETE FROM class_vectors WHERE step > ?", (last.step,))
        connection.close()
    print(
        f"3. kill -9, {kills} times at random moments: lost {np.mean(lost):.3f} s on average, "
        f"{max(lost):.3f} s at worst; integrity and step numbers: {found or 'whole each time'}; "
        f"target <= {TARGET_LOST_SECONDS} s ({TARGET_LOST_SECONDS / max(lost):.1f} times better)"
    )
    return max(lost) <= TARGET_LOST_SECONDS and found is None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=5.0, help="of the second measurement")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        passed = [
            bench_call(folder),
            bench_sustained(folder, options.seconds),
            bench_kill(folder, options.kills, options.seed),
        ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
