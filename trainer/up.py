"""`fasa up`: the supervisor in this process, dashboard and projector in one of their own each."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from types import FrameType

from trainer.config import ConfigError, RunConfig, dataset_title
from trainer.dashboard import Dashboard, DashboardOptions
from trainer.folder_lock import has_supervisor
from trainer.presets import preset_values
from trainer.projector_process import ProjectorProcess
from trainer.resumption import requeue_interrupted
from trainer.run_log.commands import queue_run
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder
from trainer.supervisor import Supervisor

_FIRST_RUNS = ("demo", "demo-baseline")
_BAD_INPUT = 2


def up(
    folder: RunsFolder,
    *,
    dashboard: DashboardOptions | None,
    projector: bool,
    demo: bool,
    slots: int | None,
    resume: bool,
    grace: float,
) -> int:
    """Start everything and stay until SIGTERM or Ctrl-C; then trainers checkpoint and stop.

    A second Ctrl-C ends them at once.

    Args:
        folder: runs and run log; made when missing.
        dashboard: None for none.
        projector: whether pictures of the feature space are made.
        demo: queue the demo run and its baseline when there is no run yet.
        slots: how many runs may train at once; None for one a GPU.
        resume: queue the interrupted runs again.
        grace: seconds that trainers have for their checkpoint.

    Returns:
        the exit code: 2 when the dashboard would not start as it was asked to.

    Raises:
        SupervisorError: another supervisor has the folder, or it cannot be written.
        ConfigError: the dashboard cannot listen there, or a number is out of bounds.
    """
    if not 0 <= grace < float("inf"):
        raise ConfigError(f"--grace is {grace:g}, but needs to be 0 or more seconds")
    if dashboard is not None and not has_supervisor(folder.root):
        dashboard.refuse_taken_port()
    folder.root.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
    supervisor = Supervisor(folder.root, slots=slots)
    if resume:
        for run in requeue_interrupted(folder):
            print(f"run {run.id} '{run.name}' goes on", flush=True)
    if demo:
        queue_first_runs(folder)
    server: Dashboard | None = None
    pictures: ProjectorProcess | None = None
    try:
        if dashboard is not None:
            server = Dashboard(folder, dashboard)
            if server.has_refused():
                supervisor.release()
                return _BAD_INPUT
            server.watch()
        if projector:
            pictures = ProjectorProcess(folder)
        supervisor.run_forever()
    except KeyboardInterrupt:
        print("stopping: trainers write a checkpoint first", flush=True)
    finally:
        _stop(supervisor, [part for part in (server, pictures) if part is not None], grace)
    return 0


def queue_first_runs(folder: RunsFolder) -> None:
    """Queue the demo and its baseline when the run log holds no run."""
    with RunLogReader(folder.run_log) as reader:
        if reader.runs(include_deleted=True):
            return
    for name in _FIRST_RUNS:
        config = RunConfig(**preset_values([name]))
        queue_run(
            folder.run_log,
            name=name,
            config=config.model_dump(mode="json"),
            dataset=dataset_title(config),
        )


def _stop(
    supervisor: Supervisor, others: Sequence[Dashboard | ProjectorProcess], grace: float
) -> None:
    for other in others:
        other.end()  # first, so that it ends while the trainers write
    try:
        supervisor.stop(seconds=grace)
    except KeyboardInterrupt:
        print("ending the trainers at once", flush=True)
        supervisor.stop(seconds=0)
    for other in others:
        other.wait()


def _as_keyboard_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
