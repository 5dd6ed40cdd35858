"""A run that is about to be queued: from presets, or out of another run by a restart or a fork.

What it is called, what differs, which command does the same, why it cannot start; and its row.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.config_checks import changes_of, command_line, problems_of, runs_flag
from app.source import run_log_path, source
from trainer.config import (
    RunConfig,
    child_config,
    dataset_title,
    live_knobs,
    load_config,
)
from trainer.presets import preset_values
from trainer.run_log.commands import queue_run
from trainer.run_log.rows import CheckpointRow, Run
from trainer.run_log.text import NAME_LENGTH

Kind = Literal["new", "restart", "fork"]

DEFAULTS = "paper"  # the preset without values: what is meant when none is chosen
KNOB_CURVES = "knob/"  # the curves that tell how the live knobs stood


@dataclass(frozen=True)
class Origin:
    """Where a new run's values come from.

    Attributes:
        presets: of a run from presets, in the order they are laid over one another.
        parent: the run it comes from; None for a run from presets.
        checkpoint: where a fork goes on; None for a restart.
    """

    presets: tuple[str, ...] = ()
    parent: Run | None = None
    checkpoint: CheckpointRow | None = None

    @property
    def kind(self) -> Kind:
        """What becomes of it."""
        if self.parent is None:
            return "new"
        return "restart" if self.checkpoint is None else "fork"

    def values(self) -> dict[str, Any]:
        """The configuration it starts from, as json; a fork's live knobs as they stood there.

        Raises:
            ConfigError: there is no such preset, or the run log holds a configuration that breaks
                a rule.
            RunLogError: the run log cannot be read.
        """
        if self.parent is None:
            # Unchecked together: a preset of a published data set lacks the folder it lies in.
            return RunConfig().model_dump(mode="json") | preset_values(list(self.presets))
        values = dict(self.parent.config)
        reader = source().reader()
        if self.checkpoint is not None and reader is not None:
            stood = reader.last_scalars(self.parent.id, KNOB_CURVES, step=self.checkpoint.step)
            values |= {
                name: stood[f"{KNOB_CURVES}{name}"]
                for name in live_knobs()
                if f"{KNOB_CURVES}{name}" in stood
            }
        return load_config(values).model_dump(mode="json")

    def usual_name(self) -> str:
        """What the run is called unless somebody says otherwise."""
        if self.parent is None:
            return ",".join(self.presets or [DEFAULTS])[:NAME_LENGTH]
        return f"{self.parent.name} ({self.kind})"[-NAME_LENGTH:]

    def words(self) -> list[str]:
        """The command for it, before its flags."""
        if self.parent is None:
            return ["fasa", "queue", "--preset", ",".join(self.presets or [DEFAULTS])]
        words = ["fasa", self.kind, str(self.parent.id)]
        if self.checkpoint is not None:
            is_end = self.checkpoint.batch == 0
            place = self.checkpoint.epoch if is_end else self.checkpoint.step
            words += ["--epoch" if is_end else "--step", str(place)]
        return words


def checkpoint_label(row: CheckpointRow) -> str:
    """Where a checkpoint stands, and its size: "end of epoch 6 · step 396 · 12.5 MB"."""
    if row.batch:
        place = f"epoch {row.epoch + 1}, after batch {row.batch}"
    else:
        place = f"end of epoch {row.epoch}" if row.epoch else "start"
    return f"{place} · step {row.step} · {row.bytes / 1e6:.1f} MB"


def usual_checkpoint(rows: Sequence[CheckpointRow], epochs: int) -> CheckpointRow | None:
    """The newest that leaves epochs to train, else the newest; None when there is none."""
    return max(rows, key=lambda row: (row.epoch < epochs, row.step), default=None)


@dataclass(frozen=True)
class Draft:
    """A run about to be queued.

    Attributes:
        origin: where its values come from.
        name: what it is to be called; None for the usual name.
        values: the configuration it started from, as json.
        edited: the same with edits, which may break a rule.
    """

    origin: Origin
    name: str | None
    values: Mapping[str, Any]
    edited: Mapping[str, Any]

    @property
    def changes(self) -> dict[str, Any]:
        """The knobs that differ."""
        return changes_of(self.values, self.edited)

    def command(self) -> str:
        """The command that does the same, in any folder."""
        is_usual = self.name in (None, self.origin.usual_name())
        named = self.changes if is_usual else {"name": self.name} | self.changes
        return " ".join([command_line(self.origin.words(), named), shlex.join(runs_flag())]).strip()

    def problems(self) -> dict[str, str]:
        """Why it cannot start: knob -> one sentence; empty when it can."""
        problems = problems_of(self.edited, given=self.values)
        checkpoint = self.origin.checkpoint
        if not problems and checkpoint and self.edited["epochs"] <= checkpoint.epoch:
            problems["epochs"] = (
                f"epochs is {self.edited['epochs']}, but the fork starts after "
                f"{checkpoint.epoch}: raise epochs, or fork from an earlier checkpoint"
            )
        return problems

    def config(self) -> RunConfig:
        """The configuration as edited.

        Raises:
            ConfigError: it breaks a rule, or a fork's edit that no fork can take.
        """
        return child_config(self.values, self.changes, fork=self.origin.checkpoint is not None)

    def queue(self) -> int:
        """Queue it; returns its id. The folder of the runs is made when it is missing.

        Raises:
            ConfigError: an edit that breaks a rule.
            RunLogError: a name that cannot be, or the run log cannot be written.
            OSError: the folder cannot be made.
        """
        config, parent, at = self.config(), self.origin.parent, self.origin.checkpoint
        path = run_log_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        return queue_run(
            path,
            name=self.origin.usual_name() if self.name is None else self.name,
            config=config.model_dump(mode="json"),
            dataset=parent.dataset if parent and at else dataset_title(config),
            parent_run=parent.id if parent else None,
            parent_epoch=at.epoch if at else None,
            parent_step=at.step if at else None,
        )
