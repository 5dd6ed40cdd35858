"""FASA against its baseline, over seeds: the tables of docs/results.md.

    python -m benchmarks.fasa_table demo --runs FOLDER [--seeds 0 1 2] [--jobs 2]
    python -m benchmarks.fasa_table photos --data-folder DIR --runs FOLDER

Trains what FOLDER does not hold yet (one thread a run, several runs at a time) and prints the
tables as Markdown: the mean over seeds and the half-width of its 95 % interval (Student's t).
`demo` is the composed set, `photos` real photos laid out as COCO 2017's (see docs/data.md).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy import stats

from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.runs_folder import RunsFolder

REGIMES = {
    "demo": {
        "SGD": ("demo-baseline", "demo"),
        "AdamW, 32 RoIs": ("demo-baseline,demo-adamw", "demo,demo-adamw"),
    },
    "photos": {"SGD": ("photos-baseline", "photos")},
}
METRICS = ("AP", "AP_r", "AP_c", "AP_f")
SIGNS = (
    "norm, rare",
    "norm, common",
    "norm, frequent",
    "rare classes below 1 AP",
    "rare hold-out loss",
)


def main() -> int:
    """Train, read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=REGIMES)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data-folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    regimes = REGIMES[given.set]
    # Seed by seed, so that what is there after some hours is whole seeds.
    arms = [
        (presets, seed) for seed in given.seeds for pair in regimes.values() for presets in pair
    ]
    more = ["--data=coco", f"--data-folder={given.data_folder}"] if given.data_folder else []
    with ThreadPoolExecutor(given.jobs) as pool:
        codes = list(pool.map(lambda arm: _train(given.runs, *arm, more), arms))
    if any(codes):
        print("a run failed: see its console above", file=sys.stderr)
        return 1
    for line in _tables(given.runs, regimes, given.seeds):
        print(line)
    return 0


def _name(presets: str, seed: int) -> str:
    return f"{presets} seed {seed}"


def _train(runs: Path, presets: str, seed: int, more: list[str]) -> int:
    if _finished(runs, presets, seed) is not None:
        return 0
    command = [sys.executable, "-m", "trainer", "train", f"--runs={runs}", f"--preset={presets}"]
    command += [f"--seed={seed}", f"--name={_name(presets, seed)}", "--threads=1", *more]
    # Evaluation draws no random numbers: leaving out all but the last changes no result.
    command += ["--evaluate-every=1000", "--keep-checkpoints=1"]
    return subprocess.run(command, check=False).returncode


def _finished(runs: Path, presets: str, seed: int) -> Run | None:
    folder = RunsFolder(runs)
    if not folder.run_log.exists():
        return None
    found = [
        run
        for run in RunLogReader(folder.run_log).runs()
        if run.name == _name(presets, seed) and run.status == "finished"
    ]
    return found[-1] if found else None


def _tables(runs: Path, regimes: Mapping[str, tuple[str, str]], seeds: list[int]) -> Iterator[str]:
    """AP of the arms and their difference, seed by seed; then the signs of a collapsed tail."""
    measured = {
        (regime, arm): np.array([_measure(runs, presets, seed) for seed in seeds])
        for regime, pair in regimes.items()
        for arm, presets in zip(("baseline", "FASA"), pair, strict=True)
    }
    yield from _header(METRICS)
    for regime in regimes:
        without, with_fasa = measured[regime, "baseline"], measured[regime, "FASA"]
        for arm, values in (
            ("baseline", without), ("FASA", with_fasa), ("difference", with_fasa - without)
        ):  # fmt: skip
            columns = values.T[: len(METRICS)]
            cells = [_interval(column, signed=arm == "difference") for column in columns]
            yield _row(regime, arm, cells)
    yield ""
    yield from _header(SIGNS)
    for (regime, arm), values in measured.items():
        norms, rest = values.T[len(METRICS) :][:3], values.T[len(METRICS) + 3 :]
        cells = [f"{norm.mean():.2f}" for norm in norms] + [_interval(column) for column in rest]
        yield _row(regime, arm, cells)


def _header(columns: Sequence[str]) -> Iterator[str]:
    yield _row("classifier", "arm", columns)
    yield "|" + "-|" * (2 + len(columns))


def _row(*cells: str | Iterable[str]) -> str:
    texts = [text for cell in cells for text in ([cell] if isinstance(cell, str) else cell)]
    return "| " + " | ".join(texts) + " |"


def _interval(values: np.ndarray, *, signed: bool = False) -> str:
    """Mean and half-width of its 95 % interval over seeds."""
    count = len(values)
    mean = f"{values.mean():+.1f}" if signed else f"{values.mean():.1f}"
    if count < 2:
        return mean
    half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / count**0.5
    return f"{mean} ± {half:.1f}"


def _measure(runs: Path, presets: str, seed: int) -> list[float]:
    """Final mask APs, and the signs of a collapsed tail, of one run."""
    run = _finished(runs, presets, seed)
    assert run is not None
    reader = RunLogReader(RunsFolder(runs).run_log)
    final = {row.name: row.value for row in reader.scalars(run.id)}
    letters = np.array([category.frequency for category in reader.categories(run.id)])

    def last(field: str) -> np.ndarray:
        vector = reader.latest_class_vector(run.id, field)
        assert vector is not None
        return np.asarray(vector.values, dtype=np.float64)

    norms, rare = last("weight_norm"), letters == "r"
    return [
        *(final[f"segm/{metric}"] for metric in METRICS),
        *(float(norms[letters == letter].mean()) for letter in "rcf"),
        float((last("ap_segm")[rare] < 1).sum()),
        float(np.nanmean(last("validation_loss")[rare])),
    ]


if __name__ == "__main__":
    sys.exit(main())
