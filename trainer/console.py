"""What a training run says in the terminal: progress bars, or plain lines in a file or pipe."""

from __future__ import annotations

import time
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

# Between two lines where there is no terminal to redraw, whatever comes first:
_PLAIN_EVERY = 50  # batches
_PLAIN_SECONDS = 60.0


class Console:
    """A context in which a run reports its phases and messages.

    Args:
        quiet: print nothing; with several ranks, the first one alone reports.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._rich = RichConsole(highlight=False, soft_wrap=True, quiet=quiet)
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        if self._rich.is_terminal and not quiet:
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

    def phase(self, name: str, *, done: int = 0) -> None:
        """A new phase begins, `done` of its batches behind it, and takes the last one's place."""
        self._name, self._done, self._said = name, done, time.monotonic()
        if self._bars is not None:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(name, total=None, completed=done, note="")

    def advance(self, note: str = "", *, total: int) -> None:
        """One more batch of the phase's `total` is done."""
        self._done += 1
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, advance=1, total=total, note=note)
        elif self._is_due() or self._done == total:
            self._said = time.monotonic()
            self.say(f"{self._name} {self._done}/{total} {note}".rstrip())

    def _is_due(self) -> bool:
        is_late = time.monotonic() - self._said >= _PLAIN_SECONDS
        return is_late or self._done % _PLAIN_EVERY == 0
