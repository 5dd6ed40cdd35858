"""What is told agrees with what FASA did: its own reports go in, whatever losses and groups."""

from typing import Any, Literal

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.super_group_history import Adaptation, put_together
from app.why import explain
from app.why_evidence import Evidence, recomputed
from fasa_core.adaptive_sampling import AdaptationReport, AdaptiveSampling
from fasa_core.super_groups import SuperGroups
from trainer.config import RunConfig
from trainer.run_log.rows import AdaptationRow, AdaptationSummary

CLASSES = 8
NAMES = [f"class {index}" for index in range(CLASSES)]
ALPHA, BETA = 1.3, 0.7
ROUNDING = 1e-5  # relative: the log keeps the classes' losses as float32

Evaluations = st.lists(
    st.tuples(st.floats(0, 50, allow_subnormal=False), st.integers(0, 5)),
    min_size=CLASSES,
    max_size=CLASSES,
)
Partitions = st.lists(st.integers(-1, 3), min_size=CLASSES, max_size=CLASSES)


def super_groups(numbers: list[int], noise: int) -> SuperGroups:
    """A partition numbered 0, 1, ... without gaps, as the clustering gives it."""
    drawn = np.array(numbers)
    group = np.full(CLASSES, -1)
    for place, number in enumerate(sorted({n for n in numbers if n >= 0})):
        group[drawn == number] = place
    flags = np.array([bool(noise >> index & 1) for index in range(CLASSES)])
    return SuperGroups(group, flags & (group >= 0), 0.5, 0.5)


def logged(report: AdaptationReport, epoch: int) -> Adaptation:
    """The rows that the recorder writes of a report."""
    place: dict[str, Any] = {"step": 10 * epoch, "epoch": epoch - 1, "wall_time": 0.0}
    said = report.to_dict()
    rows = []
    for number, group in enumerate(said["groups"]):
        values = {key: value for key, value in group.items() if key != "group"}
        rows.append(AdaptationRow(id=number, super_group=group["group"], **place, **values))
    names = ("eps", "eps_quantile", "num_groups", "noise_share", "largest_group")
    summary: dict[str, Any] = {name: said[name] for name in names}
    return put_together([AdaptationSummary(id=epoch, **place, **summary)], rows)[0]


def mean_losses(evaluation: list[tuple[float, int]]) -> np.ndarray:
    """The field `validation_loss` as the recorder writes it."""
    total, number = np.array(evaluation).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, total / number, np.nan).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(first=Evaluations, second=Evaluations, groups=st.tuples(Partitions, Partitions),
       noise=st.integers(0, 2**CLASSES - 1), scale=st.sampled_from([1.0, 5.0]),
       statistic=st.sampled_from(["mean", "sum"]), static=st.booleans())  # fmt: skip
def test_the_recomputed_losses_have_the_sign_of_the_factor(
    first: list[tuple[float, int]], second: list[tuple[float, int]],
    groups: tuple[list[int], list[int]], noise: int, scale: float,
    statistic: Literal["mean", "sum"], static: bool,
) -> None:  # fmt: skip
    sampling = AdaptiveSampling(torch.arange(1, CLASSES + 1), initial_scale=scale,
                                group_statistic=statistic, static=static)  # fmt: skip
    done = []
    for epoch, (evaluation, numbers) in enumerate(zip((first, second), groups, strict=True), 1):
        number = torch.tensor([n for _, n in evaluation])
        total = torch.tensor([loss for loss, _ in evaluation], dtype=torch.float64)
        report = sampling.adapt(super_groups(numbers, noise), total * (number > 0), number,
                                alpha=ALPHA, beta=BETA, epoch=epoch - 1)  # fmt: skip
        done.append((logged(report, epoch), report))
    (before, _), (now, report) = done
    evidence = Evidence(
        config=RunConfig(group_statistic=statistic).model_dump(),
        names=NAMES, now=now, before=before,
        losses_before=mean_losses(first), losses_after=mean_losses(second),
        p_before=report.probability_before, p_after=report.probability_after,
        instances=list(range(1, CLASSES + 1)), observed=None,
    )  # fmt: skip
    for index in range(CLASSES):
        row = now.row_of(index)
        told = explain(evidence, index).paragraph
        assert "not written together" not in told
        assert "rows of this log are missing" not in told
        if row is None:
            assert report.group_of_class[index] == -1
            assert f"{NAMES[index]} was in no super-group" in told or "no class was in" in told
            continue
        agree(evidence, row, told)


def agree(evidence: Evidence, row: AdaptationRow, told: str) -> None:
    """The direction that the classes' own losses give is the one that was taken and told."""
    one, other = recomputed(evidence, row)
    if evidence.config["group_statistic"] == "sum":  # cannot be recomputed from what is logged
        assert np.isnan(one)
        one, other = row.loss_before or 0.0, row.loss_after or 0.0
    change = other - one
    is_static = row.reason == "static"
    # Else rounding decides, or nothing was to be decided.
    if abs(change) > ROUNDING * max(abs(one), abs(other)) and not is_static:
        assert np.sign(change) == {ALPHA: -1, BETA: 1}[row.factor]
    if np.isnan(change) or is_static:
        assert row.factor == 1
    words = {ALPHA: "multiplied by alpha = 1.3", BETA: "multiplied by beta = 0.7"}
    left = "sampling is static" if is_static else "was left as it was: factor 1"
    assert words.get(row.factor, left) in told
    fell, rose = "fell from" in told, "rose from" in told
    assert is_static or (fell, rose) == (row.factor == ALPHA, row.factor == BETA)
