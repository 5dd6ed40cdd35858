"""`fasa up` for real: one command from an empty folder to a training run and a page."""

import os
import signal
import socket
from pathlib import Path

import pytest
from running_up import answers, free_port, is_silent, start, wait

from trainer.checkpoint_files import checkpoints
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder

pytestmark = pytest.mark.slow


def test_from_an_empty_folder_to_a_training_demo_and_back(tmp_path: Path) -> None:
    folder, port = RunsFolder(tmp_path / "runs"), free_port()
    process = start(folder.root, port, tmp_path / "up.log")
    try:
        wait(lambda: answers(port), 60, "the dashboard's answer")
        reader = RunLogReader(folder.run_log)
        wait(lambda: len(reader.scalars(1, ["loss/total"])) > 3, 180, "the first curve")
        runs = {run.name: run for run in reader.runs()}
        assert set(runs) == {"demo", "demo-baseline"}
        assert runs["demo"].status == "running"
        assert runs["demo-baseline"].status == "queued"
        assert runs["demo-baseline"].config["fasa"] is False
        assert f"http://127.0.0.1:{port}" in (tmp_path / "up.log").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert code == 0, (tmp_path / "up.log").read_text()
    demo = RunLogReader(folder.run_log).run(1)
    assert demo.status == "interrupted"
    assert len(checkpoints(folder.checkpoints(1))) == 1
    assert not _still_there(demo.process_id)
    assert is_silent(port)


def _still_there(process_id: int | None) -> bool:
    assert process_id is not None
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_second_one_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    port = free_port()
    first = start(tmp_path / "runs", port, tmp_path / "first.log", "--no-demo")
    try:
        wait(lambda: answers(port), 60, "the dashboard's answer")
        second = start(tmp_path / "runs", free_port(), tmp_path / "second.log", "--no-demo")
        assert second.wait(30) == 2
        text = (tmp_path / "second.log").read_text()
        assert text.startswith("fasa: ")
        assert "Traceback" not in text
        assert RunLogReader(tmp_path / "runs" / "fasa.sqlite").runs() == []
    finally:
        first.send_signal(signal.SIGINT)
        assert first.wait(30) == 0


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        process = start(tmp_path / "runs", port, tmp_path / "up.log", "--no-demo")
        assert process.wait(30) == 2
    text = (tmp_path / "up.log").read_text()
    assert str(port) in text
    assert "Traceback" not in text
