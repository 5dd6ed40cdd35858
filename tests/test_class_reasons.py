"""Why each class's probability is what it is: words from hand-made rows of one adaptation."""

from pathlib import Path

import numpy as np
from run_log_builders import fill
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.class_reasons import class_reasons, reason_routes, reasons_of
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import AdaptationRow
from trainer.run_log.writer import RunLogWriter


def row(group: int, members: list[int], reason: str, **other: object) -> AdaptationRow:
    given = {
        "id": group + 1, "step": 40, "epoch": 3, "wall_time": 0.0, "super_group": group,
        "members": members, "noise_members": [], "with_data": members, "clamped": [],
        "loss_before": 2.0, "loss_after": 1.88, "factor": 1.1, "reason": reason,
    }  # fmt: skip
    return AdaptationRow(**(given | other))  # type: ignore[arg-type]


def words(groups: list[AdaptationRow], count: int = 4, **given: object) -> list[str]:
    values = {
        "observed": np.ones(count), "probability": np.full(count, 0.1),
        "is_weak": np.zeros(count, bool),
    } | given  # fmt: skip
    found = class_reasons(groups, **values)  # type: ignore[arg-type]
    return [found.reasons[index][0] for index in found.of_class]


def test_a_few_words_say_what_the_group_did() -> None:
    groups = [
        row(3, [0], "fell"),
        row(4, [1], "rose", loss_after=2.004, factor=0.9),
        row(5, [2], "no validation data", loss_before=None, loss_after=None, with_data=[]),
        row(6, [3], "tie", loss_after=2.0, factor=1.0),
    ]
    assert words(groups) == [
        "group 3 fell 0.12",
        "group 4 rose 0.004",
        "no validation data in group 5",
        "group 6: no change",
    ]
    assert (
        words([row(0, [0, 1], "baseline", loss_before=None, factor=1.0)], 2)
        == ["first validation of group 0"] * 2
    )


def test_a_class_held_at_a_bound_says_at_which() -> None:
    groups = [row(1, [0, 1, 2], "rose", loss_after=2.5, clamped=[0, 1])]
    assert words(groups, 3, probability=np.array([0.0, 1.0, 0.5])) == [
        "group 1 rose 0.50, clamped at 0",
        "group 1 rose 0.50, clamped at 1",
        "group 1 rose 0.50",
    ]


def test_classes_outside_all_groups_say_why() -> None:
    observed = np.array([0, 7, 7])
    assert words([row(0, [2], "fell")], 3, observed=observed) == [
        "never observed", "not clustered", "group 0 fell 0.12",
    ]  # fmt: skip
    assert words([], 3, observed=observed) == [
        "never observed", "not adapted yet", "not adapted yet",
    ]  # fmt: skip


def test_the_sentence_holds_the_numbers() -> None:
    groups = [row(3, [0, 1, 2], "fell", with_data=[0, 1], noise_members=[2], clamped=[0])]
    found = class_reasons(
        groups, observed=np.ones(3), probability=np.ones(3), is_weak=np.zeros(3, bool)
    )
    said = [found.reasons[index][1] for index in found.of_class]
    start = (
        "Super-group 3 (3 classes, 2 with validation data): hold-out loss 2 → 1.88, "
        "so p was multiplied by 1.1."
    )
    assert said[1] == start
    assert said[0] == f"{start} p was held at 1."
    assert said[2] == (
        f"{start} This class had no validation data of its own: its group decided. "
        "DBSCAN called this class noise; it was put into the nearest group."
    )
    assert (found.step, found.epoch) == (40, 3)


def test_a_weak_prior_is_said_with_the_reason() -> None:
    groups = [row(3, [0, 1], "fell")]
    weak = np.array([False, True, True])
    assert words(groups, 3, is_weak=weak, observed=np.array([1, 1, 0])) == [
        "group 3 fell 0.12", "group 3 fell 0.12, weak prior", "never observed, weak prior",
    ]  # fmt: skip


def test_members_that_the_run_does_not_have_are_left_out() -> None:
    assert words([row(0, [0, 99, -1], "fell")], 1) == ["group 0 fell 0.12"]


def test_the_route_answers_from_a_log(tmp_path: Path) -> None:
    path = fill(tmp_path / "log.sqlite")
    reader = RunLogReader(path)
    client = TestClient(Starlette(routes=reason_routes(lambda: reader)))
    answer = client.get("/live/runs/1/reasons").json()
    assert (answer["step"], answer["epoch"]) == (4, 1)
    named = [answer["reasons"][index][0] for index in answer["of_class"]]
    # `fill` logs no observed RoIs, so classes outside the group count as never observed.
    assert named == ["group 0 fell 1.00"] * 3 + ["never observed"] * 2
    assert client.get("/live/runs/77/reasons").status_code == 404


def test_only_the_newest_adaptation_is_told(tmp_path: Path) -> None:
    path = fill(tmp_path / "log.sqlite")
    reader = RunLogReader(path)
    group = {"group": 2, "members": [0, 1], "noise_members": [], "with_data": [0, 1]}
    group |= {"loss_before": 1.0, "loss_after": 1.5, "factor": 0.9, "clamped": []}
    summary = {"eps": 0.5, "eps_quantile": 0.5, "num_groups": 1, "noise_share": 0.0}
    with RunLogWriter(path, 1) as writer:
        report = {**summary, "largest_group": 2, "groups": [{**group, "reason": "rose"}]}
        writer.adaptation(report, step=8, epoch=2)
    later = reasons_of(reader, reader.run(1))
    assert [text for text, _ in later.reasons] == ["group 2 rose 0.50", "never observed"]
    assert later.of_class == [0, 0, 1, 1, 1]
