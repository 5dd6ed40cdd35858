"""The proof of survival, with the 25 kills that every change must pass; 100 are in benchmarks."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_25_times_a_run_ends_as_if_it_never_had_been() -> None:
    # A process of its own: the attempts are forked from one that has started no thread.
    command = [sys.executable, "-m", "benchmarks.survival", "--kills", "25"]
    proof = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert "killed 25 times" in proof.stdout
