"""What a run prints: plain lines into a pipe, a redrawn bar on a terminal."""

import os
import pty
import subprocess
import sys
import time

import pytest

from trainer.console import Console

_SCRIPT = """
from trainer.console import Console
with Console() as console:
    console.phase('training 1/2')
    for loss in (3, 2, 1):
        console.advance(f'loss {loss}', total=3)
    console.say('epoch 1/2 [done]')
"""


def test_plain_lines_into_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["training 1/2 3/3 loss 1", "epoch 1/2 [done]"]


def test_a_pipe_gets_a_line_every_fifty_batches(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        console.phase("training 1/2", done=20)
        for _ in range(100):
            console.advance("loss 1.5", total=120)
    said = capsys.readouterr().out.splitlines()
    assert said == [f"training 1/2 {done}/120 loss 1.5" for done in (50, 100, 120)]


def test_a_pipe_gets_a_line_a_minute_when_batches_are_slow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Console() as console:
        console.phase("evaluation 1/2")
        for _ in range(6):
            now += 25.0
            console.advance(total=7)
    assert capsys.readouterr().out.splitlines() == ["evaluation 1/2 3/7", "evaluation 1/2 6/7"]


def test_a_bar_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT], stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not piece:
            break
        text += piece
    assert process.wait() == 0
    assert b"3/3" in text
    assert b"\x1b[" in text
    assert b"[done]" in text
