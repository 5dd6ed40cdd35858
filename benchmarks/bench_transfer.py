"""Two claims about runs that leave an installation or come into it, on logs of 1203 classes.

1. An export or import takes at most 256 MiB above the interpreter, however long the run was: a log
   of 12 fields x 300 snapshots with 15,000 steps, and one four times as long.
2. While runs are imported, another program that writes waits at most 1 s for its turn.

Prints seconds, peak memory (as Linux counts it) and the size of each export against the log's own;
exits 1 when a target is missed. Each export and import has a process of its own.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.run_log.commands import queue_run, set_status
from trainer.run_log.schema import open_for_writing
from trainer.run_log.writer import RunLogWriter
from trainer.runs_folder import RunsFolder
from trainer.transfer.export import export_runs
from trainer.transfer.merge import import_runs

NUM_CLASSES, NUM_FIELDS, SNAPSHOTS, STEPS_A_SNAPSHOT, NUM_CURVES = 1203, 12, 300, 50, 12
LONGER = 4
TARGET_MIB = 256.0
TARGET_WAIT_SECONDS = 1.0


class Cost(NamedTuple):
    """What one export or import took."""

    seconds: float
    peak_mib: float  # above what the process held before


def make_log(runs: RunsFolder, snapshots: int) -> float:
    """A finished run whose values drift as a trained model's do; returns the log's MiB."""
    runs.root.mkdir(parents=True)
    run_id = queue_run(runs.run_log, name="large", config={}, dataset="none")
    generator = np.random.default_rng(0)
    fields = {
        f"field_{number}": generator.random(NUM_CLASSES, dtype=np.float32)
        for number in range(NUM_FIELDS - 2)
    }
    counts = {name: np.zeros(NUM_CLASSES, dtype=np.int32) for name in ("rois", "virtual")}
    with RunLogWriter(runs.run_log, run_id) as writer:
        writer.register_categories(
            [
                {"index": i, "id": i + 1, "name": f"class {i}", "frequency": "rcf"[i % 3],
                 "image_count": i, "instance_count": i} for i in range(NUM_CLASSES)
            ]
        )  # fmt: skip
        for step in range(1, snapshots * STEPS_A_SNAPSHOT + 1):
            losses = generator.normal(size=NUM_CURVES)
            curves = {f"curve/{i}": float(loss) for i, loss in enumerate(losses)}
            writer.scalars(curves, step=step, epoch=0)
            if step % STEPS_A_SNAPSHOT:
                continue
            for values in fields.values():
                values += generator.normal(0, 1e-3, NUM_CLASSES).astype(np.float32)
            for number in counts.values():
                number += generator.integers(0, 20, NUM_CLASSES, dtype=np.int32)
            writer.class_vectors({**fields, **counts}, step=step, epoch=0)
    set_status(runs.run_log, run_id, "finished")
    return runs.run_log.stat().st_size / 2**20


def peak_mib() -> float:
    """The most memory this process ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(peak) / 1024


def carry(answer: Connection, work: Callable[..., object], arguments: dict[str, Any]) -> None:
    import pyarrow.parquet  # noqa: F401  # what only loads it is no cost of the work

    before, start = peak_mib(), time.perf_counter()
    work(**arguments)
    answer.send(Cost(time.perf_counter() - start, peak_mib() - before))


def cost_of(work: Callable[..., object], **arguments: Any) -> Cost:
    """Do it in a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=carry, args=(theirs, work, arguments))
    process.start()
    theirs.close()
    cost: Cost = ours.recv()
    process.join()
    return cost


def size_mib(path: Path) -> float:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) / 2**20


def write_now_and_then(path: Path, ready: Any, done: Any, answer: Connection) -> None:
    """Commit every 20 ms as a trainer's heartbeat would; answers with the longest wait."""
    connection = open_for_writing(path)
    run_id = connection.execute("SELECT min(id) FROM runs").fetchone()[0]
    longest = 0.0
    ready.set()
    while not done.is_set():
        start = time.perf_counter()
        connection.execute("UPDATE runs SET heartbeat = ? WHERE id = ?", (time.time(), run_id))
        longest = max(longest, time.perf_counter() - start)
        time.sleep(0.02)
    connection.close()
    answer.send(longest)


def import_beside_a_writer(there: RunsFolder, source: Path) -> tuple[Cost, float]:
    """What an import takes, and the longest that another program waited meanwhile."""
    there.root.mkdir()
    queue_run(there.run_log, name="at work", config={}, dataset="none")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    ready, done = context.Event(), context.Event()
    writer = context.Process(
        target=write_now_and_then, args=(there.run_log, ready, done, theirs), daemon=True
    )
    writer.start()
    ready.wait()
    cost = cost_of(import_runs, folder=there, source=source)
    done.set()
    longest: float = ours.recv()
    writer.join()
    return cost, longest


def bench(place: Path, snapshots: int) -> tuple[float, float]:
    """Peak memory of the hungriest of all, and the longest wait of another writer."""
    here = RunsFolder(place / "here")
    log_mib = make_log(here, snapshots)
    vectors = snapshots * NUM_FIELDS * NUM_CLASSES
    print(
        f"{NUM_CLASSES} classes x {NUM_FIELDS} fields x {snapshots} snapshots "
        f"({vectors / 1e6:.1f} million values) and {snapshots * STEPS_A_SNAPSHOT} steps x "
        f"{NUM_CURVES} curves, log {log_mib:.0f} MiB"
    )
    costs = []
    for kind in ("csv", "parquet", "sqlite"):
        to = place / kind
        costs.append(cost_of(export_runs, folder=here, run_ids=[1], format=kind, to=to))
        print(
            f"   export to {kind:<8} {costs[-1].seconds:6.1f} s, peak {costs[-1].peak_mib:4.0f} "
            f"MiB, {size_mib(to):6.1f} MiB = {size_mib(to) / log_mib:.2f} of the log"
        )
    cost, longest = import_beside_a_writer(RunsFolder(place / "there"), place / "sqlite")
    print(
        f"   import           {cost.seconds:6.1f} s, peak {cost.peak_mib:4.0f} MiB, "
        f"{log_mib / cost.seconds:.0f} MiB/s; another writer waited at most {longest:.2f} s"
    )
    return max(cost.peak_mib for cost in [*costs, cost]), longest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=SNAPSHOTS)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    options = parser.parse_args()
    peaks, waits = [], []
    for factor in (1, LONGER):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            peak, wait = bench(Path(name), factor * options.snapshots)
        peaks.append(peak)
        waits.append(wait)
    print(
        f"1. peak memory {max(peaks):.0f} MiB, target <= {TARGET_MIB:.0f} MiB "
        f"({TARGET_MIB / max(peaks):.1f} times better)"
    )
    print(
        f"2. longest wait {max(waits):.2f} s, target <= {TARGET_WAIT_SECONDS} s "
        f"({TARGET_WAIT_SECONDS / max(waits):.1f} times better)"
    )
    return 0 if max(peaks) <= TARGET_MIB and max(waits) <= TARGET_WAIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
