"""What a training run says in the terminal: progress bars, or plain lines in a file or pipe."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

_PLAIN_EVERY = 50  # steps between two lines where there is no terminal to redraw


class Console:
    """A context in which a run reports its phases and messages."""

    def __init__(self) -> None:
        self._rich = RichConsole(highlight=False, soft_wrap=True)
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        if self._rich.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description:<22}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=self._rich,
            )

    def __enter__(self) -> Console:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        """One line, above the bars when there are any."""
        self._rich.print(text, markup=False)

    def phase(self, name: str, total: int) -> None:
        """A new phase of `total` batches begins; its bar takes the place of the last one."""
        self._name, self._total, self._done = name, total, 0
        if self._bars is not None:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(name, total=total, note="")

    def advance(self, note: str = "") -> None:
        """One batch of the phase is done."""
        self._done += 1
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, advance=1, note=note)
        elif self._done % _PLAIN_EVERY == 0 or self._done == self._total:
            self.say(f"{self._name} {self._done}/{self._total} {note}".rstrip())
