"""Commands to a running trainer: read from the run log, answered through the writer."""

from __future__ import annotations

import signal
import time
from types import FrameType

from fasa_core.fasa import FASA
from trainer.config import ConfigError, check_live
from trainer.run_log.rows import Command
from trainer.run_log.writer import RunLogWriter

_PAUSE_POLL = 0.2  # s


class StopRequested(Exception):
    """The run is to end at this step; `status` is how the run log is to name it."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RunControl:
    """Applies what people ask of a run, between two steps.

    Args:
        writer: of the run; commands and their answers go through it.
        fasa: the knobs of `set`, or None for a baseline.
    """

    def __init__(self, *, writer: RunLogWriter, fasa: FASA | None) -> None:
        self._writer = writer
        self._fasa = fasa
        self._paused = False
        self._signal: str | None = None

    def listen_to_signals(self) -> None:
        """SIGTERM and Ctrl-C end the run at the next step, with a checkpoint."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name

    def is_ending(self) -> bool:
        """Whether a signal asked the run to end."""
        return self._signal is not None

    def at_step(self, *, step: int, epoch: int) -> set[str]:
        """Apply what was asked since the last step; blocks while the run is paused.

        Returns:
            the kinds of commands that were applied.

        Raises:
            StopRequested: when the run is to end here.
        """
        applied = self._take_commands(step, epoch)
        if self._paused:
            self._writer.status("paused")
            while self._paused:
                time.sleep(_PAUSE_POLL)
                applied |= self._take_commands(step, epoch)
            self._writer.status("running")
        return applied

    def _take_commands(self, step: int, epoch: int) -> set[str]:
        if self._signal is not None:
            raise StopRequested("interrupted", f"ended by {self._signal}")
        commands = self._writer.take_commands()
        return {command.kind for command in commands if self._apply(command, step, epoch)}

    def _apply(self, command: Command, step: int, epoch: int) -> bool:
        """Carry out and answer; False when it was refused."""
        try:
            text = self._carry_out(command)
        except ConfigError as error:
            self._writer.answer_command(command.id, step=step, refusal=str(error))
            return False
        self._writer.answer_command(command.id, step=step)
        self._writer.event(command.kind, text, step=step, epoch=epoch, payload=command.payload)
        if command.kind == "stop":
            raise StopRequested("stopped", "stopped on request")
        return True

    def _carry_out(self, command: Command) -> str:
        """Do it, and say in a few words what was done."""
        if command.kind == "set":
            return self._set(check_live(command.payload))
        if command.kind in ("pause", "resume"):
            self._paused = command.kind == "pause"
        elif command.kind not in ("checkpoint", "stop"):
            raise ConfigError(f"this trainer does not know the command '{command.kind}'")
        return command.kind

    def _set(self, values: dict[str, float]) -> str:
        if self._fasa is None:
            raise ConfigError(
                "this run trains without FASA, so it has no such knob: start one with"
            )
        self._fasa.set_knobs(**values)
        return ", ".join(f"{name} = {value:g}" for name, value in values.items())
