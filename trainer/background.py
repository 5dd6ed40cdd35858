"""Makes this process one that others hardly notice: behind them for processor and memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from threadpoolctl import threadpool_limits

# The last: beside a training on all cores the projector still gets a third of one, and a step
# takes 1.03 times as long (benchmarks/bench_projector_cost.py; 1.24 times at 10). Where several
# programs keep every core busy pictures come late, but a training is what people wait for.
_LAST = 19
NICENESS_VARIABLE = "FASA_PROJECTOR_NICENESS"
_FIRST_TO_GO = 1000  # when memory runs out: the kernel ends this process and not a trainer
_THREADS = 1
_ENVIRONMENT = {
    # For libraries that are not loaded yet.
    "OMP_NUM_THREADS": str(_THREADS),
    "OPENBLAS_NUM_THREADS": str(_THREADS),
    "NUMBA_NUM_THREADS": str(_THREADS),
    # numba aborts the process where two threads use this layer at once, but it is there on every
    # machine, and here one thread does all the work.
    "NUMBA_THREADING_LAYER": "workqueue",
}


def step_back() -> None:
    """Lowest priority and one thread from now on. Call it before scikit-learn and numba load.

    Linux shares processor time between sessions first, and the niceness counts only within one:
    where this process leads its session, the session steps back too. `FASA_PROJECTOR_NICENESS`
    names another priority than the last.

    Raises:
        ValueError: it is none from 0 (that of a trainer) to 19 (the last).
    """
    niceness = _niceness()
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_GO))
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness))
    os.environ |= _ENVIRONMENT
    threadpool_limits(_THREADS)


def _niceness() -> int:
    text = os.environ.get(NICENESS_VARIABLE, str(_LAST))
    if not text.isascii() or not text.isdecimal() or int(text) > _LAST:
        raise ValueError(
            f"{NICENESS_VARIABLE} is {text[:20]!r}, but must be a whole number from 0 (the "
            f"priority of a trainer) to {_LAST} (the last): change or unset it."
        )
    return int(text)
