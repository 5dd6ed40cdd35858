"""Checks of the process: what is said of a silent, starved, diverged or cramped run, and when."""

import math
from dataclasses import replace

import numpy as np
import pytest
from healthy_facts import MEGABYTE, NOW, ended, found, healthy, only, run
from hypothesis import given
from hypothesis import strategies as st

from app.diagnosis import CHECKS, diagnose
from app.diagnosis_process import DISK_RESERVE, DISK_SMALL, STARVED, checkpoints_to_come
from trainer.run_log.rows import CheckpointRow
from trainer.training_step import LossNotFinite, refuse_not_finite

LIVE = ["heartbeat", "memory", "disk"]
BASELINE = [
    "losses finite",
    "validation pass",
    "classes seen",
    "data loading",
    "pictures of features",
]
FASA_ONLY = [
    "classes validated", "super-groups", "noise", "probabilities", "priors fresh",
    "priors' objects", "virtual beside real features",
]  # fmt: skip


# When nothing is wrong


def test_nothing_wrong_says_what_was_checked() -> None:
    diagnosis = diagnose(healthy())
    assert diagnosis.findings == []
    assert sorted(diagnosis.checked) == sorted([*LIVE, *BASELINE, *FASA_ONLY])
    assert diagnosis.not_yet == []


def test_a_baseline_gets_only_what_concerns_it() -> None:
    """All that would alarm a run of FASA is wrong, but a baseline samples and adapts nothing."""
    facts = healthy(
        run=run(config={"fasa": False}),
        vectors={"probability": np.ones(20, np.float32), "scale": np.zeros(20)},
        adaptations=[],
    )
    diagnosis = diagnose(facts)
    assert diagnosis.findings == []
    assert sorted(diagnosis.checked) == sorted([*LIVE, *BASELINE])


def test_a_finished_run_is_judged_by_what_it_left() -> None:
    diagnosis = diagnose(
        healthy(run=ended("finished"), validation_epoch=11, disk_free=0, memory_available_mb=1.0)
    )
    assert diagnosis.findings == []
    assert sorted(diagnosis.checked) == sorted(["ending", *BASELINE, *FASA_ONLY])


def test_a_new_run_says_what_cannot_be_judged_yet() -> None:
    facts = healthy(
        run=run(step=3, epoch=0), losses={}, loader_seconds=[0.01] * 3, step_seconds=[0.2] * 3,
        vectors={}, before={}, validation_loss=None, validation_epoch=None, adaptations=[],
        memory_mb=None, memory_available_mb=None, checkpoints=[], measures={}, snapshots=[],
        projections=[],
    )  # fmt: skip
    diagnosis = diagnose(replace(facts, vectors={}))
    assert diagnosis.findings == []
    assert diagnosis.checked == ["heartbeat", "disk"]
    assert len(diagnosis.not_yet) == len(CHECKS) - 3  # and the ending, which is not to be


def test_a_queued_run_has_no_heartbeat_to_miss() -> None:
    facts = healthy(run=run(status="queued", heartbeat=None, started=None, epoch=0, step=0))
    assert "silent" not in found(facts)


# Heartbeat and ending


@pytest.mark.parametrize(
    ("age", "severity", "number"),
    [(0.9, None, ""), (5.9, None, ""), (8, "warn", "8 s"), (14, "warn", "14 s"),
     (16, "bad", "16 s"), (600, "bad", "10 min"), (9000, "bad", "2.5 h")],
)  # fmt: skip
def test_silence_is_told_by_its_length(age: float, severity: str | None, number: str) -> None:
    findings = found(healthy(run=run(heartbeat=NOW - age)))
    if severity is None:
        assert findings == {}
    else:
        assert findings["silent"].severity == severity
        assert findings["silent"].number == f"{number} without a heartbeat"


def test_a_log_that_cannot_be_written_is_why_no_heartbeat_comes() -> None:
    problem = "The run log x is locked by another program: close it."
    finding = only(healthy(run=run(heartbeat=NOW - 30), writing_problem=problem))
    assert (finding.key, finding.severity) == ("log_not_writable", "bad")
    assert problem in finding.text
    assert "Nothing is lost" in finding.text


def test_a_trainer_that_never_spoke_is_missed_since_its_start() -> None:
    finding = only(healthy(run=run(heartbeat=None, status="starting", started=NOW - 80)))
    assert finding.number == "80 s without a heartbeat"


@pytest.mark.parametrize("status", ["crashed", "failed", "interrupted"])
def test_a_bad_ending_says_why_and_from_where_to_go_on(status: str) -> None:
    error = "ended by signal SIGKILL. Last lines of its console:\nstep 389"
    finding = only(healthy(run=ended(status, error=error)))
    assert finding.key == "ended_badly"
    assert finding.severity == ("warn" if status == "interrupted" else "bad")
    assert "SIGKILL" in finding.text
    assert finding.text.endswith("by signal SIGKILL.")
    assert finding.number == "step 390 of 720"
    assert "step 360" in finding.remedy  # the newest checkpoint


def test_of_a_traceback_the_last_line_is_shown() -> None:
    error = "Traceback (most recent call last):\n  File x\nKeyError: 'bbox'\n"
    assert "KeyError: 'bbox'" in only(healthy(run=ended("failed", error=error))).text


def test_what_cannot_be_resumed_is_to_be_restarted() -> None:
    crashed = ended("crashed", error="gone")
    assert "no checkpoint" in only(healthy(run=crashed, checkpoints=[])).remedy
    copied = ended("crashed", error="gone", copied=NOW)
    assert "copied" in only(healthy(run=copied, checkpoints=[])).remedy


@pytest.mark.parametrize("status", ["finished", "stopped"])
def test_an_end_as_wished_is_no_finding(status: str) -> None:
    assert found(healthy(run=ended(status), validation_epoch=11)) == {}


# Losses


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss/box", "validation/loss"])
def test_a_loss_that_is_not_finite_is_named(name: str, value: float) -> None:
    finding = only(healthy(losses={"loss/total": 2.0, name: value}))
    assert (finding.key, finding.severity) == ("loss_not_finite", "bad")
    assert name in finding.text
    assert finding.number == f"{name} is {'NaN' if math.isnan(value) else 'infinite'}"


@given(st.dictionaries(st.sampled_from(["loss/total", "loss/box", "loss/mask"]),
                       st.floats(allow_nan=False, allow_infinity=False), min_size=1))  # fmt: skip
def test_no_finite_loss_alarms(losses: dict[str, float]) -> None:
    assert found(healthy(losses=losses)) == {}


def test_a_run_the_trainer_gave_up_on_is_told_by_the_trainers_own_words() -> None:
    """Against a rule that waits for a sentence nobody writes any more."""
    with pytest.raises(LossNotFinite) as error:
        refuse_not_finite({"loss/box": math.nan}, 1.0, ([], []), step=390)
    finding = only(healthy(run=ended("failed", error=str(error.value))))
    assert (finding.key, finding.severity) == ("loss_not_finite", "bad")
    assert "loss/box nan" in finding.text
    assert finding.number == "step 390"


# Validation pass


def test_a_run_that_never_validated_is_told() -> None:
    finding = only(healthy(validation_loss=None, validation_epoch=None))
    assert (finding.key, finding.severity) == ("validation_missing", "bad")
    assert "no sampling probability adapts" in finding.text
    assert finding.number == "6 epochs done, none validated"


def test_a_pass_that_stopped_coming_is_told() -> None:
    finding = only(healthy(validation_epoch=3))
    assert finding.number == "6 epochs done, last validated: 4"


def test_a_pass_without_a_single_class_is_told() -> None:
    assert only(healthy(validation_loss=np.full(20, np.nan))).key == "validation_missing"


def test_what_adapts_nothing_needs_the_pass_less() -> None:
    missing = {"validation_loss": None, "validation_epoch": None}
    static = healthy(config={"sampling": "static"}, **missing)
    assert only(static).severity == "warn"
    assert only(healthy(run=run(config={"fasa": False}), **missing)).severity == "warn"


def test_during_the_first_epoch_no_pass_is_missed() -> None:
    diagnosis = diagnose(
        healthy(run=run(epoch=0, step=30), validation_loss=None, validation_epoch=None)
    )
    assert "validation_missing" not in {finding.key for finding in diagnosis.findings}
    assert "validation pass" in diagnosis.not_yet


# Data loading


def test_starvation_says_both_times_and_their_share() -> None:
    finding = only(healthy(loader_seconds=[0.3] * 100, step_seconds=[0.1] * 100))
    assert (finding.key, finding.severity) == ("data_starvation", "warn")
    assert "300 ms of loading for 100 ms of work" in finding.text
    assert finding.number == "75 % of the time"
    assert "workers set to 2 to 4" in finding.remedy
    more = healthy(loader_seconds=[0.3] * 50, step_seconds=[0.1] * 50, config={"workers": 4})
    assert "now 4" in only(more).remedy


def test_of_a_run_that_is_over_starvation_is_a_note() -> None:
    facts = healthy(run=ended("finished"), validation_epoch=11, loader_seconds=[9.0] * 100)
    assert only(facts).severity == "note"


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(1e-3, 100)), min_size=0, max_size=100),
)
def test_starvation_is_a_matter_of_share_and_number_only(times: list[tuple[float, float]]) -> None:
    loader, step = [t[0] for t in times], [t[1] for t in times]
    starved = len(times) >= 20 and sum(loader) >= STARVED * (sum(loader) + sum(step))
    facts = healthy(loader_seconds=loader, step_seconds=step)
    assert ("data_starvation" in found(facts)) is starved
    assert ("data loading" in diagnose(facts).not_yet) is (len(times) < 20)


def test_one_slow_batch_is_no_starvation() -> None:
    assert found(healthy(loader_seconds=[0.01] * 99 + [5.0])) == {}


# Memory and disk


@pytest.mark.parametrize(
    ("available", "own", "severity"),
    [(20_000, 1200, None), (501, 1200, None), (499, 1200, "warn"), (149, 1200, "bad"),
     (1_500, 20_000, "warn"), (2_001, 20_000, None), (0, 100, "bad")],
)  # fmt: skip
def test_memory(available: float, own: float, severity: str | None) -> None:
    findings = found(healthy(memory_available_mb=available, memory_mb=own))
    if severity is None:
        assert findings == {}
    else:
        assert findings["memory_low"].severity == severity
        assert findings["memory_low"].number == f"{available:,.0f} MB available" or own == 20_000


def test_checkpoints_to_come_by_hand() -> None:
    """3 of 3 newest are kept, 6 epochs are left, every 4th stays: 1 while writing, and 1 stays."""
    assert checkpoints_to_come(healthy()) == 1 + 0 + 1
    assert checkpoints_to_come(healthy(checkpoints=[])) == 1 + 3 + 1
    assert checkpoints_to_come(healthy(config={"keep_every": 0})) == 1
    assert checkpoints_to_come(healthy(run=run(epoch=12))) == 0


@pytest.mark.parametrize(
    ("free", "checkpoint", "severity", "words"),
    [
        (40_000, 26, None, ""),
        (1_001, 26, None, ""),
        (999, 26, "warn", "nearly full"),
        (80, 26, "bad", "full, or nearly so"),
        (0, 26, "bad", "full, or nearly so"),
        (3_000, 2_000, "warn", "still to come do not fit"),
        (5_000, 2_000, None, ""),
        (2_000, 2_000, "bad", "full, or nearly so"),
    ],
)
def test_disk(free: int, checkpoint: int, severity: str | None, words: str) -> None:
    kept = [CheckpointRow(360, 6, 0, NOW, checkpoint * MEGABYTE)] * 3
    findings = found(healthy(disk_free=free * MEGABYTE, checkpoints=kept))
    if severity is None:
        assert findings == {}
    else:
        assert findings["disk_low"].severity == severity
        assert words in findings["disk_low"].text


@given(st.integers(0, 10**13), st.integers(0, 10**11), st.integers(0, 12))
def test_more_room_is_never_worse(free: int, checkpoint: int, epoch: int) -> None:
    kept = [CheckpointRow(360, 6, 0, NOW, checkpoint)] * 3
    order = {"bad": 2, "warn": 1}

    def rank(room: int) -> int:
        facts = healthy(disk_free=room, checkpoints=kept, run=run(epoch=epoch), validation_epoch=11)
        finding = found(facts).get("disk_low")
        return order[finding.severity] if finding else 0

    assert rank(free) >= rank(2 * free)
    assert rank(max(DISK_SMALL, 20 * checkpoint + DISK_RESERVE)) == 0


def test_the_worst_comes_first() -> None:
    facts = healthy(
        loader_seconds=[1.0] * 100, losses={"loss/total": math.nan},
        validation_loss=np.array([math.nan] + [1.0] * 19),
    )  # fmt: skip
    assert [finding.severity for finding in diagnose(facts).findings] == ["bad", "warn", "note"]


def test_every_finding_is_whole() -> None:
    facts = healthy(
        run=run(heartbeat=NOW - 60), losses={"loss/total": math.nan}, validation_loss=None,
        loader_seconds=[1.0] * 100, memory_available_mb=1.0, disk_free=1,
        vectors={"observed_rois": np.zeros(20), "probability": np.ones(20)},
    )  # fmt: skip
    findings = diagnose(facts).findings
    assert len(findings) == 9
    for finding in findings:
        assert finding.text.endswith(".")
        assert finding.remedy.endswith(".")
        assert finding.title
        assert any(letter.isdigit() for letter in finding.number) or "NaN" in finding.number
