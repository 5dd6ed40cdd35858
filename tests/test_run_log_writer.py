"""The trainer's door: calls copy and return, nothing is dropped, trouble is said."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from supervised_runs import until

from fasa_core.fasa import FASA
from trainer.run_log.commands import queue_run, refuse_pending, send_command
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import RunLogError, open_for_writing
from trainer.run_log.writer import RunLogWriter

CATEGORIES = [
    {
        "index": index,
        "id": 10 + index,
        "name": name,
        "frequency": frequency,
        "image_count": 3,
        "instance_count": 4,
    }
    for index, (name, frequency) in enumerate([("tiger", "r"), ("cup", "c"), ("car", "f")])
]
REPORT: dict[str, Any] = {
    "epoch": 2,
    "eps": 0.75,
    "eps_quantile": 0.5,
    "num_groups": 2,
    "noise_share": 1 / 3,
    "largest_group": 2,
    "groups": [
        {
            "group": 0,
            "members": [0, 2],
            "noise_members": [2],
            "with_data": [0],
            "loss_before": 1.5,
            "loss_after": 1.25,
            "factor": 1.1,
            "reason": "fell",
            "clamped": [2],
        },
        {
            "group": 1,
            "members": [1],
            "noise_members": [],
            "with_data": [],
            "loss_before": None,
            "loss_after": None,
            "factor": 1.0,
            "reason": "no validation data",
            "clamped": [],
        },
    ],
    "group_of_class": [0, 1, 0],
    "decision": [1, 0, 1],
}


# What is written comes back.


def test_categories_can_be_registered_again(writer: RunLogWriter, reader: RunLogReader) -> None:
    writer.register_categories(CATEGORIES)
    renamed = [{**row, "name": row["name"].upper()} for row in CATEGORIES]  # type: ignore[attr-defined]
    writer.register_categories(renamed)
    assert writer.flush()
    rows = reader.categories(1)
    assert [row.name for row in rows] == ["TIGER", "CUP", "CAR"]
    assert [row.index for row in rows] == [0, 1, 2]
    assert [row.id for row in rows] == [10, 11, 12]
    assert [row.frequency for row in rows] == ["r", "c", "f"]
    assert {(row.image_count, row.instance_count) for row in rows} == {(3, 4)}


def test_category_indices_must_be_whole(writer: RunLogWriter) -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        writer.register_categories([CATEGORIES[0], CATEGORIES[2]])


def test_scalars_keep_numbers_that_are_none(writer: RunLogWriter, reader: RunLogReader) -> None:
    before = time.time()
    values = {"loss/total": 0.1, "nan": float("nan"), "inf": -float("inf"), "count": 3}
    writer.scalars(values, step=5, epoch=1)
    assert writer.flush()
    rows = {row.name: row for row in reader.scalars(1)}
    assert {(row.step, row.epoch) for row in rows.values()} == {(5, 1)}
    assert rows["loss/total"].value == 0.1
    assert np.isnan(rows["nan"].value)
    assert rows["inf"].value == -float("inf")
    assert rows["count"].value == 3.0
    assert before - 1 < rows["count"].wall_time <= time.time()


def test_a_call_copies(writer: RunLogWriter, reader: RunLogReader) -> None:
    values = np.arange(3, dtype=np.float32)
    scalars = {"loss/total": 1.0}
    writer.class_vectors({"score": values}, step=1, epoch=0)
    writer.scalars(scalars, step=1, epoch=0)
    values[:] = -1
    scalars["loss/total"] = -1
    assert writer.flush()
    assert reader.class_vectors(1, "score").values.tolist() == [[0, 1, 2]]
    assert reader.scalars(1)[0].value == 1.0


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    floats=hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(width=32)),
    integers=hnp.arrays(np.int32, st.integers(1, 40)),
)
def test_vectors_come_back_to_the_bit(
    floats: np.ndarray, integers: np.ndarray, writer: RunLogWriter, reader: RunLogReader
) -> None:
    names = f"f{len(floats)}", f"i{len(integers)}"  # one length a field
    writer.class_vectors(dict(zip(names, (floats, integers), strict=True)), step=1, epoch=0)
    assert writer.flush()
    for name, sent in zip(names, (floats, integers), strict=True):
        found = reader.latest_class_vector(1, name)
        assert found is not None
        assert found.values.dtype == sent.dtype
        assert found.values.tobytes() == sent.tobytes()


def test_vectors_of_other_kinds_are_converted(writer: RunLogWriter, reader: RunLogReader) -> None:
    table = np.arange(12, dtype=np.float64).reshape(3, 4)
    sent = {
        "column": table[:, 1],  # strided
        "long": np.array([1, -1, 2**31 - 1]),
        "big_endian": np.array([1.5, 2, 3], dtype=">f4"),
        "half": np.array([0.5, 1, 2], dtype=np.float16),
        "unsigned": np.array([1, 2, 3], dtype=np.uint32),
    }
    writer.class_vectors(sent, step=1, epoch=0)
    assert writer.flush()
    for field, values in sent.items():
        found = reader.class_vectors(1, field).values
        assert found.dtype == (np.int32 if field in ("long", "unsigned") else np.float32)
        assert found.tolist() == [values.tolist()]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 1), dtype=np.float32), r"\(3, 1\)"),
        (np.zeros(4, dtype=np.float32), r"each of 3 classes.*\(4,\)"),
        (np.array([0, 0, 2**31]), "2147483648"),
        (np.array([0, 0, 2**31], dtype=np.uint32), "2147483648"),
        (np.array([True, False, True]), "bool"),
        (np.array(["a", "b", "c"]), "floats or integers"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    writer: RunLogWriter, values: np.ndarray, words: str
) -> None:
    writer.register_categories(CATEGORIES)
    with pytest.raises(ValueError, match=words):
        writer.class_vectors({"score": values}, step=1, epoch=0)


def test_the_number_of_classes_is_known_again_after_a_restart(path: Path) -> None:
    with RunLogWriter(path, 1) as first:
        first.register_categories(CATEGORIES)
    with RunLogWriter(path, 1) as second, pytest.raises(ValueError, match="3 classes"):
        second.class_vectors({"score": np.zeros(4, dtype=np.float32)}, step=1, epoch=0)


def test_adaptation(writer: RunLogWriter, reader: RunLogReader) -> None:
    writer.adaptation(REPORT, step=30, epoch=2)
    assert writer.flush()
    (summary,) = reader.adaptation_summaries(1)
    assert (summary.step, summary.epoch) == (30, 2)
    assert (summary.eps, summary.eps_quantile, summary.num_groups) == (0.75, 0.5, 2)
    assert (summary.noise_share, summary.largest_group) == (1 / 3, 2)
    fell, empty = reader.adaptations(1)
    assert (fell.super_group, fell.members, fell.noise_members) == (0, [0, 2], [2])
    assert (fell.with_data, fell.clamped) == ([0], [2])
    assert (fell.loss_before, fell.loss_after, fell.factor) == (1.5, 1.25, 1.1)
    assert fell.reason == "fell"
    assert (empty.loss_before, empty.loss_after, empty.members) == (None, None, [1])
    assert empty.reason == "no validation data"


def test_adaptation_without_clustering(writer: RunLogWriter, reader: RunLogReader) -> None:
    report = {**REPORT, "eps": None, "eps_quantile": None, "num_groups": 0, "groups": []}
    writer.adaptation(report, step=30, epoch=2)
    assert writer.flush()
    (summary,) = reader.adaptation_summaries(1)
    assert (summary.eps, summary.eps_quantile, summary.num_groups) == (None, None, 0)
    assert reader.adaptations(1) == []


def test_the_algorithms_own_report_fits(writer: RunLogWriter, reader: RunLogReader) -> None:
    generator = torch.Generator().manual_seed(0)
    fasa = FASA(num_classes=6, feature_dim=4, class_counts=[50, 40, 30, 5, 4, 3])
    labels = torch.arange(6).repeat(8)
    features = torch.randn(48, 4, generator=generator) + 3 * (labels % 2)[:, None]
    fasa.observe(features, labels)
    fasa.adapt(torch.full((6,), 8.0, dtype=torch.float64), torch.full((6,), 8))
    report = fasa.adapt(torch.full((6,), 4.0, dtype=torch.float64), torch.full((6,), 8))
    writer.adaptation(report.to_dict(), step=9, epoch=1)
    assert writer.flush()
    (summary,) = reader.adaptation_summaries(1)
    rows = reader.adaptations(1)
    assert summary.num_groups == len(rows) == report.num_groups
    assert sorted(member for row in rows for member in row.members) == list(range(6))
    assert {(row.factor, row.reason) for row in rows} == {(1.1, "fell")}
    assert {(row.loss_before, row.loss_after) for row in rows} == {(1.0, 0.5)}


def test_events(writer: RunLogWriter, reader: RunLogReader) -> None:
    writer.event("set", "alpha = 1.3", step=4, epoch=0, payload={"alpha": 1.3})
    writer.event("note", b"file \xff".decode("utf-8", "surrogateescape"), step=5, epoch=0)
    assert writer.flush()
    first, second = reader.events(1)
    assert (first.kind, first.text, first.payload) == ("set", "alpha = 1.3", {"alpha": 1.3})
    assert (first.step, first.epoch) == (4, 0)
    assert (second.text, second.payload) == ("file ?", {})
    with pytest.raises(ValueError, match="finite"):
        writer.event("set", "alpha = nan", step=6, epoch=0, payload={"alpha": float("nan")})


def test_status_and_progress(writer: RunLogWriter, reader: RunLogReader) -> None:
    writer.status("running")
    writer.progress(step=3, total_steps=90, epoch=0, total_epochs=3, phase="training")
    assert writer.flush()
    run = reader.run(1)
    assert (run.status, run.step, run.total_steps) == ("running", 3, 90)
    assert (run.epoch, run.total_epochs, run.phase) == (0, 3, "training")
    writer.status("failed", error="loss is NaN at step 4")
    assert writer.flush()
    run = reader.run(1)
    assert (run.status, run.error) == ("failed", "loss is NaN at step 4")
    assert run.ended is not None
    with pytest.raises(ValueError, match="asleep"):
        writer.status("asleep")


def test_commands_reach_the_trainer_once_and_their_answers_the_sender(
    path: Path, writer: RunLogWriter, reader: RunLogReader
) -> None:
    other = queue_run(path, name="other", config={}, dataset="demo")
    send_command(path, other, "stop")
    first = send_command(path, 1, "set", {"alpha": 1.3})
    second = send_command(path, 1, "set", {"alpha": -1})
    third = send_command(path, 1, "pause")
    came: list[Any] = []
    until(lambda: came.extend(writer.take_commands()) or len(came) >= 3)
    assert [command.id for command in came] == [first, second, third]
    assert came[0].payload == {"alpha": 1.3}
    writer.apply_command(came[0], "alpha = 1.3", step=12, epoch=1, phase="training")
    writer.refuse_command(came[1], "alpha must be at least 1")
    assert writer.flush()
    answers = {command.id: command for command in reader.commands(1)}
    assert (answers[first].applied_step, answers[first].refusal) == (12, None)
    assert (answers[first].applied_epoch, answers[first].applied_phase) == (1, "training")
    assert (answers[second].applied_step, answers[second].refusal) == (
        None,
        "alpha must be at least 1",
    )
    assert answers[first].answered is not None
    assert answers[third].answered is None
    (event,) = reader.events(1)
    assert (event.kind, event.text, event.step, event.epoch) == ("set", "alpha = 1.3", 12, 1)
    assert event.payload == {"alpha": 1.3, "command": first}
    time.sleep(0.6)
    assert writer.take_commands() == []


def test_a_command_refused_for_dead_and_applied_after_all_holds(
    path: Path, writer: RunLogWriter, reader: RunLogReader
) -> None:
    send_command(path, 1, "pause")
    came: list[Any] = []
    until(lambda: came.extend(writer.take_commands()) or came)
    refuse_pending(path, 1, "the trainer is gone")
    writer.apply_command(came[0], "pause", step=3, epoch=0, phase="training")
    assert writer.flush()
    (command,) = reader.commands(1)
    assert (command.applied_step, command.refusal) == (3, None)


def test_an_answer_and_its_event_are_stored_together_or_not_at_all(
    path: Path, reader: RunLogReader
) -> None:
    writer = RunLogWriter(path, 1)
    send_command(path, 1, "set", {"alpha": 1.3})
    came: list[Any] = []
    until(lambda: came.extend(writer.take_commands()) or came)
    connection = open_for_writing(path)
    connection.execute(
        "CREATE TRIGGER no_events BEFORE INSERT ON events BEGIN SELECT raise(ABORT, 'full'); END"
    )
    connection.close()
    writer.apply_command(came[0], "alpha = 1.3", step=3, epoch=0, phase="training")
    until(lambda: writer.problem is not None)
    assert reader.commands(1)[0].answered is None
    assert reader.events(1) == []
    with pytest.raises(RunLogError, match="full"):
        writer.close()


def test_commands_sent_before_the_trainer_started(path: Path) -> None:
    sent = send_command(path, 1, "pause")
    with RunLogWriter(path, 1) as writer:
        came: list[Any] = []
        until(lambda: came.extend(writer.take_commands()) or came)
        assert [command.id for command in came] == [sent]


def test_heartbeat_is_stamped_though_nothing_is_written(
    writer: RunLogWriter, reader: RunLogReader
) -> None:
    until(lambda: reader.run(1).heartbeat is not None)
    first = reader.run(1).heartbeat
    assert first is not None
    until(lambda: (reader.run(1).heartbeat or 0) > first)


def test_rows_of_many_threads(writer: RunLogWriter, reader: RunLogReader) -> None:
    def write(number: int) -> None:
        for step in range(200):
            writer.scalars({f"thread/{number}": step}, step=step, epoch=0)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.flush()
    for number in range(4):
        rows = reader.scalars(1, [f"thread/{number}"])
        assert [row.value for row in rows] == list(range(200))
