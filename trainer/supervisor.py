"""Starts queued runs, each in a process of its own, and says how those ended that could not.

Trainers outlive a supervisor that is killed: the next one finds them by the identity of their
process and looks after them as if it had started them. It holds no tensors and never loads torch.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainer.devices import gpus, least_used
from trainer.folder_lock import SupervisorError, lock_folder
from trainer.lineage import bring_checkpoints
from trainer.process_identity import process_identity
from trainer.removal import Removal
from trainer.run_log.commands import (
    claim_run,
    pending_commands,
    set_process,
    set_status,
    stop_queued,
)
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import FINAL_STATUSES, QUEUED, RunLogError, open_for_writing
from trainer.runs_folder import RunsFolder
from trainer.trainer_process import (
    TRAINER,
    TrainerProcess,
    gpus_wanted,
    last_console_lines,
    launch_trainer,
    running_trainer,
)

STOP_SECONDS = 30.0
_STOP_POLL_SECONDS = 0.05
_KILL_SECONDS = 5.0


class Supervisor:
    """Looks after the trainers of one runs folder. Only one may do so at a time.

    At construction, runs whose process is gone are marked interrupted, and trainers that still
    run are taken over. From then on a trainer that ends without having said how is marked
    crashed, with the signal or exit code and the last lines of its console.

    Args:
        runs_dir: the runs folder; made when missing. A run's console goes to
            `run-<id>/console.log` in it.
        slots: how many runs may train at once; one per GPU when None, or one without a GPU. More
            slots than GPUs share them evenly. A run of several processes takes a GPU and a slot
            for each (all slots when there are fewer), without GPUs it takes one slot. Runs start
            in their order: one that waits for its slots lets none pass. Trainers found running
            count, whoever started them.
        poll_seconds: time between two looks at the processes and the run log.
        trainer_command: what starts a trainer; `RUN_ID --runs RUNS_DIR` is added.

    Raises:
        SupervisorError: another supervisor has the folder, it cannot be written, or slots < 1.
        RunLogError: the run log cannot be used.
    """

    def __init__(
        self,
        runs_dir: Path,
        *,
        slots: int | None = None,
        poll_seconds: float = 0.5,
        trainer_command: Sequence[str] = TRAINER,
    ) -> None:
        if slots is not None and slots < 1:
            raise SupervisorError(
                f"A supervisor needs at least 1 slot, got {slots}: give the number of runs that "
                "may train at once."
            )
        self._folder = RunsFolder(runs_dir.absolute())
        self._gpus = gpus()
        self._slots = slots or max(1, len(self._gpus))
        self._poll_seconds = poll_seconds
        self._command = trainer_command
        self._identity = process_identity(os.getpid())
        self._trainers: dict[int, TrainerProcess] = {}  # by run id
        self._removal = Removal(self._folder)
        self._ending = threading.Event()
        self._polling = threading.Lock()
        self._is_full = False  # in this round: a run waits for slots
        self._lock_file = lock_folder(self._folder.root)
        try:
            open_for_writing(self._folder.run_log).close()
            self._reader = RunLogReader(self._folder.run_log)
            self._take_over(if_gone="interrupted")
        except BaseException:
            self._lock_file.close()
            raise

    def run_forever(self) -> None:
        """Poll until `stop` is called or an exception such as KeyboardInterrupt ends the wait.

        Trainers go on either way; `stop` ends them.
        """
        _say(f"trains up to {self._slots} at once, on {', '.join(self._gpus) or 'no GPU'}")
        # In a thread of its own, so that a signal handler that raises in this one never cuts
        # the start of a trainer in two.
        with ThreadPoolExecutor(1, thread_name_prefix="supervisor") as thread:
            try:
                thread.submit(self._poll_until_ended).result()
            finally:
                self._ending.set()

    def poll(self) -> None:
        """One round: note what ended, take over what is new, start what waits.

        Raises:
            RunLogError: the run log cannot be used now; the next round catches up.
        """
        with self._polling:
            if self._ending.is_set():
                return
            self._reap("crashed")
            self._record_processes()
            self._take_over(if_gone="crashed")
            self._bring_checkpoints()
            self._start_queued()
            self._removal.poll(self._reader.runs(include_deleted=True), busy=self._trainers)

    def stop(self, *, seconds: float = STOP_SECONDS) -> None:
        """End the trainers that supervisors started, and let go of the folder.

        SIGTERM lets them write a checkpoint; those not gone after `seconds` are killed and their
        runs marked interrupted. Trainers that a person started in a terminal go on. May be called
        again when it was interrupted.
        """
        self._ending.set()
        with self._polling:
            if self._lock_file.closed:
                return
            for run_id, trainer in list(self._trainers.items()):
                if trainer.leads_a_session() or not trainer.is_alive():
                    trainer.send(signal.SIGTERM)
                else:
                    del self._trainers[run_id]
            if not self._wait(seconds):
                for trainer in self._trainers.values():
                    trainer.send(signal.SIGKILL)
                self._wait(_KILL_SECONDS)
            try:
                self._reap("interrupted")
            except RunLogError as error:
                # The next supervisor marks them.
                _complain(error)
            self._reader.close()
            self._lock_file.close()

    def release(self) -> None:
        """Let go of the folder; the trainers go on."""
        self._ending.set()
        with self._polling:
            self._reader.close()
            self._lock_file.close()

    def _poll_until_ended(self) -> None:
        last = ""
        while not self._ending.is_set():
            try:
                self.poll()
                last = ""
            except RunLogError as error:
                if str(error) != last:
                    _complain(error)
                last = str(error)
            self._ending.wait(self._poll_seconds)

    def _wait(self, seconds: float) -> bool:
        """Whether all trainers ended within `seconds`."""
        deadline = time.monotonic() + seconds
        while any(trainer.is_alive() for trainer in self._trainers.values()):
            if time.monotonic() > deadline:
                return False
            time.sleep(_STOP_POLL_SECONDS)
        return True

    def _reap(self, status: str) -> None:
        """Forget trainers that ended; those that said nothing get `status`."""
        for run_id, trainer in list(self._trainers.items()):
            if not trainer.is_alive():
                self._mark(run_id, status, trainer.ending(), trainer.console_start)
                del self._trainers[run_id]

    def _take_over(self, *, if_gone: str) -> None:
        """Look after trainers that others started; those already gone get `if_gone`."""
        for run in self._reader.runs(include_deleted=True):
            if run.status in (*FINAL_STATUSES, QUEUED) or run.id in self._trainers:
                continue
            trainer = running_trainer(run, self._gpus)
            if trainer is not None and trainer.process_id != os.getpid():
                self._trainers[run.id] = trainer
                _say(f"run {run.id} is trained by process {trainer.process_id}")
            elif if_gone == "interrupted":
                text = "Its process was gone when the supervisor started (machine restarted?)"
                self._mark(run.id, if_gone, text, 0)
            else:
                self._mark(run.id, if_gone, "The trainer is gone without a word", 0)

    def _mark(self, run_id: int, status: str, text: str, console_start: int) -> None:
        # Looked up only now that the process is gone: its own last word stands, also when the run
        # was queued again since. A run may have been deleted meanwhile.
        statuses = {run.id: run.status for run in self._reader.runs(include_deleted=True)}
        if statuses.get(run_id, QUEUED) in (*FINAL_STATUSES, QUEUED):
            return
        lines = last_console_lines(self._folder, run_id, console_start)
        error = f"{text}. Last lines of its console:\n{lines}" if lines else f"{text}."
        set_status(self._folder.run_log, run_id, status, error=error)
        _say(f"run {run_id} {status}: {text}")

    def _record_processes(self) -> None:
        for run_id, trainer in self._trainers.items():
            if not trainer.is_recorded:
                set_process(
                    self._folder.run_log,
                    run_id,
                    process_id=trainer.process_id,
                    process_identity=trainer.identity,
                )
                trainer.is_recorded = True

    def _bring_checkpoints(self) -> None:
        # At once and not when a slot is free: the parent may drop them meanwhile.
        for run_id, text in bring_checkpoints(self._folder, self._reader.runs()).items():
            self._fail(run_id, text)

    def _start_queued(self) -> None:
        self._is_full = False
        for run in self._reader.runs():
            if run.status != QUEUED:
                continue
            commands = pending_commands(self._folder.run_log, run.id)
            if any(command.kind == "stop" for command in commands):
                stop_queued(self._folder.run_log, run.id)
            elif run.id not in self._trainers and not self._is_full:
                self._start_if_it_fits(run)

    def _start_if_it_fits(self, run: Run) -> None:
        wanted = gpus_wanted(run) if self._gpus else 0
        if wanted > len(self._gpus):
            self._fail(
                run.id,
                f"Its {wanted} processes need a GPU each, but this machine has {len(self._gpus)}: "
                f"restart it with processes={len(self._gpus)}, or start it with torchrun.",
            )
            return
        places = min(max(1, wanted), self._slots)
        taken = sum(trainer.places for trainer in self._trainers.values())
        self._is_full = taken + places > self._slots
        if not self._is_full:
            self._start(run, places=places, gpus=self._free_gpus(wanted))

    def _free_gpus(self, count: int) -> tuple[str, ...]:
        in_use = [gpu for trainer in self._trainers.values() for gpu in trainer.gpus]
        return least_used(self._gpus, in_use, count=count)

    def _start(self, run: Run, *, places: int, gpus: tuple[str, ...]) -> None:
        # Claimed in the supervisor's own name first, so that no two processes train one run.
        if not claim_run(
            self._folder.run_log, run.id, process_id=os.getpid(), process_identity=self._identity
        ):
            return
        try:
            trainer = launch_trainer(
                self._folder, run.id, gpus=gpus, places=places, command=self._command
            )
        except OSError as error:
            self._fail(
                run.id,
                f"The trainer could not be started ({error}): check the disk and the runs folder.",
            )
            return
        self._trainers[run.id] = trainer
        where = f" on {', '.join(gpus)}" if gpus else ""
        _say(f"run {run.id} '{run.name}' started as process {trainer.process_id}{where}")
        self._record_processes()

    def _fail(self, run_id: int, text: str) -> None:
        set_status(self._folder.run_log, run_id, "failed", error=text)
        _say(f"run {run_id} failed: {text}")


def _say(text: str) -> None:
    print(f"supervisor: {text}", flush=True)


def _complain(error: RunLogError) -> None:
    print(f"supervisor: {error}", file=sys.stderr, flush=True)
