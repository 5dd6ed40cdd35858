"""Why did it change: every case in words, the numbers against hand-made rows."""

from typing import Any

import numpy as np
import pytest
from super_group_builders import adaptation, grouped, row

from app.super_group_history import Adaptation
from app.why import explain, why_nothing
from app.why_evidence import Evidence, recomputed
from app.why_words import count, listed, number, number_pair, signed
from trainer.config import RunConfig
from trainer.presets import preset_values
from trainer.run_log.rows import AdaptationRow

NAMES = ["owl", "pear", "tiger", "axe", "bus", "fig"]
NAN = float("nan")


def evidence(now: Adaptation, before: Adaptation | None = None, **values: Any) -> Evidence:
    """Six classes; p was 0.01 and follows the first row's factor, losses fell from 2 to 1."""
    config = values.pop("config", {})
    p = np.full(6, 0.01, np.float32)
    factor = now.rows[0].factor if now.rows else 1.0
    usual: dict[str, Any] = {
        "config": RunConfig().model_dump() | config,
        "names": NAMES,
        "losses_before": np.full(6, 2.0, np.float32),
        "losses_after": np.full(6, 1.0, np.float32),
        "p_before": p,
        "p_after": (p * factor).astype(np.float32),
        "instances": [10] * 6,
        "observed": np.full(6, 9, np.int32),
    }
    return Evidence(now=now, before=before, **{**usual, **values})


def told(one: AdaptationRow, index: int = 0, **values: Any) -> str:
    return explain(evidence(adaptation(one, epoch=2), **values), index).paragraph


def test_a_loss_that_fell_is_told_with_every_number() -> None:
    """Mean of 3, 5, 2.5 is 3.5; of 2, 5.5, 0.6 it is 2.7: down 0.8, that is 22.9 %."""
    one = row([0, 1, 2], noise_members=[2], loss_before=3.5, loss_after=2.7)
    before = grouped([0, 1, 5], [2, 3, 4])
    found = explain(
        evidence(
            adaptation(one, epoch=2),
            before,
            losses_before=np.float32([3, 5, 2.5, NAN, NAN, NAN]),
            losses_after=np.float32([2, 5.5, 0.6, NAN, NAN, NAN]),
        ),
        0,
    )
    assert found.paragraph == (
        "After epoch 2 (step 20) owl was in super-group 0, with 2 other classes (1 of the 3 "
        "attached as noise). The group changed since epoch 1: 2 of its 3 members were together "
        "with owl then, 1 came and 1 left; both losses are over the members of now. All 3 members "
        "had validation data in both evaluations. The mean validation loss of these classes fell "
        "from 3.5 to 2.7 (−0.8, −22.9 %). Of these losses 2 fell and 1 rose; most moved tiger 2.5 "
        "→ 0.6, owl 3 → 2, pear 5 → 5.5. So the p of every member was multiplied by alpha = 1.1. "
        "p of owl went from 0.01 to 0.011 (11 virtual features to expect in 1,000 steps, ×1.1)."
    )
    assert [m.index for m in found.members] == [0, 2, 1]  # itself first, then by change
    assert [m.noise for m in found.members] == [False, True, False]


def test_noise_says_where_it_was_attached() -> None:
    text = told(row([0, 1], noise_members=[0]))
    assert "DBSCAN called owl noise, as no core class lay within eps = 0.5, and attached it" in text
    assert "super-group 0, that of its nearest core class, with 1 other class (1 of the 2" in text


def test_noise_that_stays_alone() -> None:
    text = told(row([0], noise_members=[0]), config={"noise": "singleton"})
    assert "no other class lay within eps = 0.5, and it stayed alone in super-group 0." in text
    assert "It had validation data in both evaluations." in text
    assert "The validation loss of this class fell from 2 to 1" in text
    assert "So its p was multiplied by alpha" in text


def test_a_loss_that_rose_takes_beta_as_the_knob_stood_then() -> None:
    text = told(row([0, 1], loss_before=1.0, loss_after=1.25, factor=0.8, reason="rose"),
                losses_before=np.full(6, 1.0), losses_after=np.full(6, 1.25))  # fmt: skip
    assert "rose from 1 to 1.25 (+0.25, +25 %)" in text
    assert "multiplied by beta = 0.8 (as the knob stood then; the run began with 0.9)." in text
    assert "p of owl went from 0.01 to 0.008" in text


def test_a_class_without_data_moves_with_its_group() -> None:
    text = told(row([0, 1, 2, 3], with_data=[1, 2]))
    assert (
        "2 of 4 members had validation data in both evaluations (pear and tiger); owl had none"
        in text
    )
    assert "owl had none and moves with its group." in text


def test_the_few_without_data_are_named() -> None:
    text = told(row([0, 1, 2, 3], with_data=[0, 1, 3]))
    assert "3 of 4 members had validation data in both evaluations (all but tiger)." in text


def test_the_first_evaluation_is_only_stored() -> None:
    one = row([0, 1], loss_before=None, loss_after=1.0, factor=1.0, reason="baseline")
    text = told(one, losses_before=None)
    assert "All 2 members had validation data in this evaluation." in text
    assert "first evaluation: the mean validation loss of these classes, 1, is only stored" in text
    assert "So the p of every member was left as it was: factor 1." in text
    assert "p of owl stayed at 0.01 (10 virtual features" in text


def test_a_tie() -> None:
    one = row([0, 1], loss_before=1.0, loss_after=1.0, factor=1.0, reason="tie")
    text = told(one, losses_before=np.full(6, 1.0))
    assert "of these classes was 1 both times: a tie. So the p of every member was left" in text


def test_no_validation_data() -> None:
    one = row([0, 1], with_data=[], loss_before=None, loss_after=None, factor=1.0,
              reason="no validation data")  # fmt: skip
    text = explain(evidence(adaptation(one, epoch=2), grouped([0, 1])), 0).paragraph
    assert "None of its 2 classes had validation data in both evaluations, so there was" in text
    assert "left as it was: factor 1." in text


def test_a_class_that_was_never_observed_is_frozen() -> None:
    observed = np.array([0, 9, 9, 9, 9, 9], np.int32)
    one = evidence(adaptation(row([1, 2])), observed=observed, p_after=np.full(6, 0.01))
    text = explain(one, 0).paragraph
    assert "owl was in no super-group: without a RoI observed by then it had no prior" in text
    assert "its p is frozen. p of owl stayed at 0.01" in text
    assert text.endswith("No RoI of owl was observed yet: no virtual feature of it is drawn.")
    assert explain(one, 0).members == ()


def test_an_unseen_class_that_is_clustered_moves_but_is_not_drawn() -> None:
    text = told(row([0, 1]), observed=np.array([0, 9, 9, 9, 9, 9]),
                config={"cluster_unseen": True})  # fmt: skip
    assert "p of owl went from 0.01 to 0.011" in text
    assert text.endswith("No RoI of owl was observed yet: no virtual feature of it is drawn.")


def test_affinity_propagation_that_did_not_converge() -> None:
    config = preset_values(["official"])
    text = explain(evidence(adaptation(epoch=3), grouped([0, 1]), config=config), 0).paragraph
    assert text.startswith("After epoch 3 (step 30) affinity propagation had not converged, so no")
    assert "p of owl stayed at 0.01" in text


def test_the_official_sum_is_named_and_not_recomputed() -> None:
    one = row([0, 1, 2], with_data=[0, 1], loss_before=0.031, loss_after=0.034, factor=0.9,
              reason="rose")  # fmt: skip
    config = preset_values(["official"])
    text = told(one, config=config)
    assert "formed by the official affinity propagation, which joins classes that are far" in text
    assert "2 of 3 members had validation data in either evaluation" in text
    assert "sum over its classes' RoIs, divided by all RoIs with the background) rose" in text
    assert "average to" not in text


def test_static_sampling() -> None:
    one = row([0, 1], factor=1.0, reason="static")
    text = told(one, config={"sampling": "static"})
    assert "fell from 2 to 1" in text
    assert "this run's sampling is static" in text
    assert "p of owl stayed at 0.01" in text


def test_what_was_clamped() -> None:
    values = {"p_before": np.full(6, 0.95), "p_after": np.full(6, 1.0)}
    text = told(row([0, 1, 2], clamped=[0, 1, 2]), **values)
    assert "p of owl would have become 1.045 and was clamped at 1, as were 2 other members." in text
    assert "p of owl went from 0.95 to 1 (1000 virtual features" in text
    assert "missing" not in text
    assert "It was not clamped; pear was." in told(row([0, 1], clamped=[1]))


def test_a_class_without_instances_has_no_probability() -> None:
    values = {"p_before": np.zeros(6), "p_after": np.zeros(6), "instances": [0] * 6}
    text = told(row([0, 1]), **values)
    assert "p of owl is 0 (it has no training instances, and Eq. 4 divides by them)" in text


def test_what_the_log_does_not_hold_is_said() -> None:
    assert "no snapshot of p of owl after it yet" in told(row([0, 1]), p_after=None)
    assert "holds no snapshot of it before" in told(row([0, 1]), p_before=None)
    assert "most moved" not in told(row([0, 1]), losses_before=None)


def test_rows_that_contradict_each_other_are_said() -> None:
    text = told(row([0, 1]), losses_after=np.full(6, 1.5), p_after=np.full(6, 0.02))
    assert "(The classes' losses in this log average to 1.5, not 1: these rows" in text
    assert "(The factor alone gives 0.011: other rows of this log are missing.)" in text


def test_features_that_start_later_are_said() -> None:
    text = told(row([0, 1]), config={"start_epoch": 5})
    assert text.endswith("No virtual feature is drawn before epoch 6.")
    assert "No virtual feature" not in told(row([0, 1]), config={"start_epoch": 2})


def test_the_same_members_are_said() -> None:
    one = evidence(adaptation(row([0, 1]), epoch=2), grouped([0, 1]))
    assert "The members are those of epoch 1." in explain(one, 0).paragraph


def test_a_class_that_joins_for_the_first_time() -> None:
    one = evidence(adaptation(row([0, 1]), epoch=2), grouped([1, 2]))
    assert "After epoch 1 owl was in no group; losses are over" in explain(one, 0).paragraph


def test_foreign_rows_do_not_break_it() -> None:
    one = row([0, 99], with_data=[0, 99], noise_members=[99], clamped=[99], reason="<b>odd</b>")
    found = explain(evidence(adaptation(one)), 0)
    assert "(the log gives the reason '<b>odd</b>')" in found.paragraph
    assert [m.index for m in found.members] == [0]


def test_runs_without_an_adaptation() -> None:
    assert "baseline without FASA" in why_nothing({"fasa": False})
    assert "No epoch has been adapted yet" in why_nothing({"fasa": True})


def test_recomputed_is_the_mean_over_deciding_classes() -> None:
    one = evidence(
        adaptation(row([0, 1, 2], with_data=[0, 2])),
        losses_before=np.float32([1, 50, 3, NAN, NAN, NAN]),
        losses_after=np.float32([2, 50, 5, NAN, NAN, NAN]),
    )
    assert recomputed(one, one.now.rows[0]) == (2.0, 3.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0000191, "0.0000191"), (3.14159, "3.142"), (-2.5, "−2.5"), (1e-9, "1e-09"),
     (1234.5, "1234"), (0.0, "0")],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_words() -> None:
    assert number_pair(3.00001, 3.00002) == ("3.00001", "3.00002")
    assert (signed(-0.5), signed(0.25)) == ("−0.5", "+0.25")
    assert (count(1, "class"), count(2, "class"), count(2, "member")) == (
        "1 class", "2 classes", "2 members")  # fmt: skip
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 others"
    assert listed(["a"]) == "a"
