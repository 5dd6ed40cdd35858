"""What a run prints: plain lines into a pipe, a redrawn bar on a terminal."""

import os
import pty
import subprocess
import sys

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
