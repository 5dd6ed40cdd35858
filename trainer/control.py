"""Commands to a running trainer: read from the run log, answered through the writer.

Where several ranks train together, all meet at every moment: the first one says what came, and it
takes hold on all of them there.

A command takes hold between two steps, or between two batches of the passes after an epoch. Where
it did is its `Moment`. After a crash the run goes on from its last checkpoint, and the commands
that had taken hold since take hold again, each at its moment: so the run becomes what it would have
been.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from trainer.config import ConfigError
from trainer.distributed import ALONE, Ranks
from trainer.knobs import Knobs
from trainer.run_log.rows import Command
from trainer.run_log.writer import RunLogWriter

_PAUSE_POLL = 0.2  # s
PHASES = ("training", "validation", "evaluation")  # of an epoch, in their order
REPEATED = ("set", "snapshot_features")  # what takes hold again after a crash


class StopRequested(Exception):
    """The run is to end at this step.

    Attributes:
        status: how the run log is to name it.
        problem: what did not go well about it, or None.
    """

    def __init__(self, status: str, reason: str, *, problem: str | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.problem = problem


class Moment(NamedTuple):
    """A point of a run at which a command can take hold; later ones are greater.

    Attributes:
        epoch: the epoch at work, from 0.
        step: training steps done.
        phase: index into `PHASES`.
    """

    epoch: int
    step: int
    phase: int


class Word(NamedTuple):
    """What a rank says where all meet.

    Attributes:
        signal: that it received, if any.
        commands: that take hold now; the first rank's count.
        holds: of the first rank: it works on alone, and the others wait for its next word.
    """

    signal: str | None
    commands: list[Command]
    holds: bool


class Signals:
    """SIGTERM and Ctrl-C: they end the run, while it trains only at the next moment."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.wait_for_moment = False

    def listen(self) -> None:
        """From now on. Before `wait_for_moment` is set, a signal raises `StopRequested` at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        if not self.wait_for_moment:
            self.raise_received()

    def raise_received(self) -> None:
        """End the run if a signal came.

        Raises:
            StopRequested: it did.
        """
        if self.received is not None:
            raise StopRequested("interrupted", f"ended by {self.received}")


class RunControl:
    """Applies what people ask of a run, between two steps.

    Args:
        writer: of the run; commands and their answers go through it. None on all ranks but the
            first, which learn from it what was asked.
        knobs: what `set` turns.
        signals: of this process.
        ranks: that train together.

    Attributes:
        applied: ids of the commands that have taken hold and would have to again after a crash;
            a checkpoint holds them.
        is_held: whether the first rank works on alone, and this one is to call `at` again.
    """

    def __init__(
        self,
        *,
        writer: RunLogWriter | None,
        knobs: Knobs,
        signals: Signals,
        ranks: Ranks = ALONE,
    ) -> None:
        self._writer = writer
        self._knobs = knobs
        self._signals = signals
        self._ranks = ranks
        self._sections = 0
        self.is_held = False
        self._paused = False
        self._paused_seconds = 0.0
        self._to_repeat: list[tuple[Moment, Command]] = []
        self.applied: list[int] = []

    def working_seconds(self) -> float:
        """A clock that stands still while the run is paused."""
        return time.monotonic() - self._paused_seconds

    @contextmanager
    def holding(self) -> Iterator[None]:
        """A section in which the first rank works alone; `meet` is to follow."""
        self._sections += 1
        try:
            yield
        finally:
            self._sections -= 1

    def meet(self) -> None:
        """On the first rank, let the others go on after a section; no command takes hold.

        Raises:
            StopRequested: a signal came.
        """
        if self._ranks.world > 1:
            self._exchange([], holds=False)
            self._signals.raise_received()

    def raise_if_ending(self) -> None:
        """End the run, in a section of the first rank where no command can take hold.

        Raises:
            StopRequested: a signal came.
        """
        if self.is_ending():
            self._signals.raise_received()

    def is_ending(self) -> bool:
        """On the first rank, whether a signal asked the run to end; the others wait on."""
        self._exchange([], holds=True)
        return self._signals.received is not None

    def repeat(self, commands: Sequence[Command], *, applied: Sequence[int]) -> None:
        """Have commands take hold again at their moments, after a crash.

        Args:
            commands: of the run, in order.
            applied: `applied` as it was in the checkpoint that the run goes on from.
        """
        self.applied = list(applied)
        for command in commands:
            moment = _moment_of(command)
            if command.kind in REPEATED and moment is not None and command.id not in applied:
                self._to_repeat.append((moment, command))

    def at(self, moment: Moment) -> set[str]:
        """Apply what was asked since the last moment; blocks while the run is paused.

        Returns:
            the kinds of commands that were applied.

        Raises:
            StopRequested: when the run is to end here.
        """
        if self._writer is not None:
            self._writer.wait_while_disk_full(self.is_ending)
        applied = self._take_commands(moment)
        if self._paused:
            began = time.monotonic()
            self._say("paused")
            while self._paused:
                time.sleep(_PAUSE_POLL)
                applied |= self._take_commands(moment)
            self._say("running")
            self._paused_seconds += time.monotonic() - began
        return applied

    def _say(self, status: str) -> None:
        if self._writer is not None:
            self._writer.status(status)

    def _take_commands(self, moment: Moment) -> set[str]:
        commands: list[Command] = []
        while self._to_repeat and self._to_repeat[0][0] <= moment:
            commands.append(self._to_repeat.pop(0)[1])
        if self._writer is not None:
            commands += self._writer.take_commands()
        commands = self._exchange(commands, holds=self._sections > 0)
        self._signals.raise_received()
        return {command.kind for command in commands if self._apply(command, moment)}

    def _exchange(self, commands: list[Command], *, holds: bool) -> list[Command]:
        """Meet the other ranks; returns the commands of the first one."""
        words = self._ranks.gather_objects(Word(self._signals.received, commands, holds))
        received = [word.signal for word in words if word.signal is not None]
        if received:
            self._signals.received = received[0]
        self.is_held = words[0].holds and not self._ranks.is_first
        return words[0].commands

    def _apply(self, command: Command, moment: Moment) -> bool:
        """Carry out and answer; False when it was refused."""
        try:
            text = self._carry_out(command)
        except ConfigError as error:
            if self._writer is not None:
                self._writer.refuse_command(command, str(error))
            return False
        if self._writer is not None:
            self._writer.apply_command(
                command, text, step=moment.step, epoch=moment.epoch, phase=PHASES[moment.phase]
            )
        if command.kind in REPEATED:
            self.applied.append(command.id)
        if command.kind == "stop":
            raise StopRequested("stopped", "stopped on request")
        return True

    def _carry_out(self, command: Command) -> str:
        """Do what can be done here, and say in a few words what was."""
        if command.kind == "set":
            values = self._knobs.set(command.payload)
            return ", ".join(f"{name} = {value:g}" for name, value in values.items())
        if command.kind in ("pause", "resume"):
            self._paused = command.kind == "pause"
        elif command.kind not in ("checkpoint", "stop", "snapshot_features"):
            raise ConfigError(f"this trainer does not know the command '{command.kind}'")
        return command.kind.replace("_", " ")


def _moment_of(command: Command) -> Moment | None:
    """Where a command took hold; None when it did not."""
    if command.applied_step is None or command.applied_epoch is None:
        return None
    return Moment(
        command.applied_epoch, command.applied_step, PHASES.index(str(command.applied_phase))
    )
