"""Marks and commands as the charts and the steering bar get them."""

import time
from pathlib import Path
from typing import Any

import pytest
from browser.synthetic_log import SyntheticRun

from app.events import LAST_COMMANDS, MOST_MARKS, History, attempt_marks, event_mark, shortened
from app.run_summary import Summaries
from trainer.run_log.commands import mark_deleted, queue_run, send_command, set_status
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Attempt, Event
from trainer.run_log.writer import RunLogWriter


def history_of(path: Path) -> History:
    reader = RunLogReader(path)
    return History(reader, Summaries(reader))


def marks(path: Path, run: int = 1) -> list[dict[str, Any]]:
    return history_of(path).marks(RunLogReader(path).run(run))


@pytest.fixture
def training(tmp_path: Path) -> SyntheticRun:
    run = SyntheticRun(tmp_path, classes=4, epochs=3, steps_per_epoch=20)
    run.start()
    run.advance(30)
    assert run.writer
    run.writer.flush()
    return run


def writer_of(run: SyntheticRun) -> RunLogWriter:
    assert run.writer
    return run.writer


def test_a_change_that_took_hold_is_a_mark_in_the_papers_symbols(training: SyntheticRun) -> None:
    writer = writer_of(training)
    writer.event("set", "alpha = 1.3", step=25, epoch=1, payload={"alpha": 1.3, "command": 1})
    writer.event("pause", "pause", step=22, epoch=1)
    writer.flush()
    shown = marks(training.path)
    assert [(m["step"], m["tone"], m["text"]) for m in shown] == [
        (22, "quiet", "pause"), (25, "change", "α = 1.3"),
    ]  # fmt: skip
    assert abs(shown[0]["wall"] - time.time()) < 60


def test_crashes_and_resumes_are_marked_from_the_attempts() -> None:
    attempts = [
        Attempt(1, 100.0, 200.0, 0, 40, "crashed", "killed by signal 9\nlast lines"),
        Attempt(2, 300.0, 350.0, 20, 60, "stopped", None),
        Attempt(3, 400.0, None, 60, None, None, None),
    ]
    assert [(m.step, m.wall, m.tone, m.text) for m in attempt_marks(attempts)] == [
        (40, 200.0, "bad", "crashed: killed by signal 9"),
        (20, 300.0, "quiet", "resumed from step 20"),
        (60, 400.0, "quiet", "resumed from step 60"),
    ]


def test_a_fork_is_marked_in_its_parent_at_the_time_of_its_step(training: SyntheticRun) -> None:
    child = queue_run(training.path, name="what <b>if", config={}, dataset="demo", parent_run=1,
                      parent_epoch=1, parent_step=20)  # fmt: skip
    [mark] = [m for m in marks(training.path) if m["kind"] == "fork"]
    assert (mark["step"], mark["text"]) == (20, f"fork: run {child}, what <b>if")
    at = {r.step: r.wall_time for r in RunLogReader(training.path).scalars(1, ["step_seconds"])}
    assert mark["wall"] == pytest.approx(at[20])
    assert marks(training.path, child) == []  # its trainer notes the fork as an event
    mark_deleted(training.path, child, True)
    assert [m for m in marks(training.path) if m["kind"] == "fork"] == []


def test_a_restart_shares_no_step_and_makes_no_mark(training: SyntheticRun) -> None:
    queue_run(training.path, name="again", config={}, dataset="demo", parent_run=1)
    assert [m for m in marks(training.path) if m["kind"] == "fork"] == []


def test_the_version_changes_with_the_marks_and_only_then(training: SyntheticRun) -> None:
    history = history_of(training.path)
    writer = writer_of(training)

    def version() -> str:
        writer.flush()
        return history.version(RunLogReader(training.path).run(1))

    first = version()
    training.advance(2)
    assert version() == first  # values are no marks
    writer.event("checkpoint", "checkpoint", step=31, epoch=1)
    second = version()
    assert second != first
    writer.begin_attempt(from_step=0)
    third = version()
    assert third != second
    writer.close()
    set_status(training.path, 1, "crashed", error="killed")
    assert history.version(RunLogReader(training.path).run(1)) != third


def test_rows_of_a_rewound_run_are_forgotten(training: SyntheticRun) -> None:
    writer = writer_of(training)
    history = history_of(training.path)
    writer.flush()
    position = writer.position()
    writer.event("pause", "pause", step=30, epoch=1)
    writer.flush()
    reader = RunLogReader(training.path)
    assert [m["kind"] for m in history.marks(reader.run(1))] == ["pause"]
    writer.truncate_after(position, step=20)
    writer.flush()
    assert history.marks(reader.run(1)) == []


def test_the_last_commands_come_with_their_answers(training: SyntheticRun) -> None:
    history = history_of(training.path)
    for number in range(LAST_COMMANDS + 2):
        send_command(training.path, 1, "set", {"alpha": 1 + number / 10})
    run = RunLogReader(training.path).run(1)
    shown = history.commands(run)
    assert [command["text"] for command in shown] == [f"α = 1.{n}" for n in range(2, 7)]
    assert {command["answered"] for command in shown} == {None}
    writer = writer_of(training)
    deadline = time.monotonic() + 20
    taken = writer.take_commands()
    while len(taken) < LAST_COMMANDS + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        taken += writer.take_commands()
    writer.apply_command(taken[-2], "alpha = 1.5", step=30, epoch=1, phase="training")
    writer.refuse_command(taken[-1], "the run is <b>busy</b>")
    writer.flush()
    applied, refused = history.commands(run)[-2:]
    assert (applied["step"], applied["refusal"]) == (30, None)
    assert (refused["step"], refused["refusal"]) == (None, "the run is <b>busy</b>")
    assert applied["answered"] >= applied["created"]


def test_a_script_that_turns_a_knob_at_every_step_is_bounded(training: SyntheticRun) -> None:
    writer = writer_of(training)
    for step in range(MOST_MARKS + 50):
        writer.event("set", "alpha = 1.1", step=step, epoch=0, payload={"alpha": 1.1})
    writer.flush()
    shown = marks(training.path)
    assert len(shown) == MOST_MARKS
    assert shown[-1]["step"] == MOST_MARKS + 49


def test_texts_are_one_short_line() -> None:
    event = Event(1, 5, 0, 1.0, "note", "\n first line \nsecond " + "x" * 999, {})
    assert event_mark(event).text == "first line"
    assert len(shortened("x" * 999)) == 240
    assert event_mark(event._replace(text="", kind="learning_rate")).text == "learning rate"
