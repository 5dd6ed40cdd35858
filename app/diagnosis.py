"""What is wrong with a run, in words: every check there is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from app.diagnosis_classes import (
    never_observed,
    noise,
    saturated,
    swallowed,
    virtual_only,
    without_validation_loss,
)
from app.diagnosis_facts import Facts
from app.diagnosis_features import beside_real, pictures, weak_priors
from app.diagnosis_process import data_loading, disk, ending, heartbeat, losses, memory, validation
from app.finding import SEVERITIES, Finding


@dataclass(frozen=True)
class Check:
    """One thing that is looked at.

    Attributes:
        word: what it is called where a person reads what was checked.
        judge: its findings, or None when it cannot be judged (yet).
        fasa: only runs of FASA have it, baselines have not.
        when: always, only while the run goes on (live), or only when it is over.
    """

    word: str
    judge: Callable[[Facts], list[Finding] | None]
    fasa: bool = False
    when: Literal["always", "live", "over"] = "always"

    def concerns(self, facts: Facts) -> bool:
        """Whether a run can have it."""
        state = "over" if facts.liveness == "over" else "live"
        return (facts.fasa or not self.fasa) and self.when in ("always", state)


CHECKS = (
    Check("heartbeat", heartbeat, when="live"),
    Check("ending", ending, when="over"),
    Check("losses finite", losses),
    Check("validation pass", validation),
    Check("classes seen", never_observed),
    Check("classes validated", without_validation_loss, fasa=True),
    Check("super-groups", swallowed, fasa=True),
    Check("noise", noise, fasa=True),
    Check("probabilities", saturated, fasa=True),
    Check("priors fresh", virtual_only, fasa=True),
    Check("priors' objects", weak_priors, fasa=True),
    Check("virtual beside real features", beside_real, fasa=True),
    Check("pictures of features", pictures),
    Check("data loading", data_loading),
    Check("memory", memory, when="live"),
    Check("disk", disk, when="live"),
)


@dataclass(frozen=True)
class Diagnosis:
    """What came of the checks.

    Attributes:
        findings: the worst first.
        checked: words of the checks that could be judged.
        not_yet: words of those that will be, in a run that goes on.
    """

    findings: list[Finding]
    checked: list[str]
    not_yet: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def diagnose(facts: Facts) -> Diagnosis:
    """Look at everything that concerns a run."""
    findings: list[Finding] = []
    checked, not_yet = [], []
    for check in CHECKS:
        if not check.concerns(facts):
            continue
        found = check.judge(facts)
        if found is not None:
            findings += found
            checked.append(check.word)
        elif facts.liveness != "over":
            not_yet.append(check.word)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(findings, checked, not_yet)
