"""`fasa` as a test calls it, in this process: what it said and its exit code."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from trainer.__main__ import main


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    error: str


class Fasa:
    """`fasa` on one runs folder."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._root = root
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        """Any outcome."""
        self._capsys.readouterr()
        try:
            code = main([*words, f"--runs={self._root}"])
        except SystemExit as end:  # of the parser
            code = int(end.code or 0)
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return Said(code, captured.out, captured.err)

    def says(self, *words: str) -> str:
        """What a command that must go well prints."""
        said = self(*words)
        assert said.code == 0, said.error
        return said.out

    def refuses(self, *words: str) -> str:
        """The one sentence of bad input."""
        said = self(*words)
        assert said.code == 2, said
        assert said.error.startswith("fasa: ")
        assert said.error.count("\n") == 1, said.error
        return said.error
