"""What the live routes say of a run's life: commands, marks, parents, deletions."""

import time
from pathlib import Path
from typing import Any

import pytest
from browser.synthetic_log import SyntheticRun
from starlette.applications import Starlette
from starlette.testclient import TestClient
from test_live_data import ask

from app.live_data import LiveData
from app.source import Source
from trainer.run_log.commands import (
    mark_deleted,
    queue_run,
    send_command,
    set_archived,
    set_note,
    set_status,
    set_tags,
)
from trainer.run_log.schema import FILE_NAME


@pytest.fixture
def synthetic(tmp_path: Path) -> SyntheticRun:
    run = SyntheticRun(tmp_path, classes=6, epochs=3, steps_per_epoch=20)
    run.start()
    run.advance(45)
    assert run.writer
    run.writer.flush()
    return run


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(Starlette(routes=LiveData(Source(tmp_path / FILE_NAME)).routes()))


def head(client: TestClient, run: int = 1) -> dict[str, Any]:
    summary: dict[str, Any] = ask(client, run=run)[0]["run"]
    return summary


def listed(client: TestClient) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = client.get("/live/runs").json()["runs"]
    return runs


def test_a_command_goes_from_sent_to_took_hold_in_the_head(
    synthetic: SyntheticRun, client: TestClient
) -> None:
    assert head(client)["commands"] == []
    before = head(client)["marks"]
    send_command(synthetic.path, 1, "set", {"alpha": 1.3})
    [command] = head(client)["commands"]
    assert (command["text"], command["answered"]) == ("α = 1.3", None)
    deadline = time.monotonic() + 20
    while head(client)["commands"][0]["answered"] is None and time.monotonic() < deadline:
        synthetic.answer_commands()
        time.sleep(0.05)
    told = head(client)
    assert (told["commands"][0]["step"], told["commands"][0]["refusal"]) == (45, None)
    assert (told["knobs"]["alpha"], told["knob_steps"]["alpha"]) == (1.3, 45)
    assert "beta" not in told["knob_steps"]  # as it was configured
    assert told["marks"] != before
    answer = client.get("/live/runs/1/marks").json()
    assert answer["version"] == told["marks"]
    assert [(m["step"], m["text"]) for m in answer["marks"]] == [(45, "α = 1.3")]


def test_the_head_says_from_where_a_run_could_go_on(
    synthetic: SyntheticRun, client: TestClient
) -> None:
    assert head(client)["checkpoint"] == {"step": 40, "epoch": 2}
    queue_run(synthetic.path, name="new", config={}, dataset="demo")
    assert head(client, 2)["checkpoint"] is None


def test_a_run_carries_its_parent_tags_and_note(
    synthetic: SyntheticRun, client: TestClient
) -> None:
    queue_run(synthetic.path, name="fork", config={}, dataset="demo", parent_run=1,
              parent_epoch=2, parent_step=40)  # fmt: skip
    queue_run(synthetic.path, name="again", config={}, dataset="demo", parent_run=1)
    set_tags(synthetic.path, 2, ["<b>tail</b>", "x"])
    set_note(synthetic.path, 2, "y" * 5000)
    restart, fork, parent = listed(client)
    assert fork["parent"] == {"run": 1, "epoch": 2, "step": 40}
    assert restart["parent"] == {"run": 1, "epoch": None, "step": None}
    assert parent["parent"] is None
    assert fork["tags"] == ["<b>tail</b>", "x"]
    assert 100 < len(fork["note"]) < 1000  # the list is asked for every second: an excerpt


def test_a_deleted_run_stays_in_the_list_while_it_can_be_undone(
    synthetic: SyntheticRun, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert synthetic.writer
    synthetic.writer.close()
    set_status(synthetic.path, 1, "stopped")
    set_archived(synthetic.path, 1, True)
    assert listed(client)[0]["archived"] is True
    mark_deleted(synthetic.path, 1, True)
    [gone] = listed(client)
    assert gone["undo_until"] == pytest.approx(gone["deleted"] + 60)
    later = time.time() + 61
    monkeypatch.setattr("app.live_data.time.time", lambda: later)
    assert listed(client) == []


def test_times_begin_with_the_first_step_not_with_the_last_start(
    synthetic: SyntheticRun, client: TestClient
) -> None:
    assert synthetic.writer
    began = head(client)["began"]
    synthetic.writer.close()
    set_status(synthetic.path, 1, "crashed")
    assert began is not None
    assert head(client)["began"] == began


@pytest.mark.parametrize("run", ["99", "0", "x", "²"])
def test_marks_of_an_unknown_run_are_404_in_a_sentence(
    run: str, synthetic: SyntheticRun, client: TestClient
) -> None:
    answer = client.get(f"/live/runs/{run}/marks")
    assert answer.status_code == 404
    assert answer.text.startswith("There is no run ")
