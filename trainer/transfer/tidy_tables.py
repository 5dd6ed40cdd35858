"""The tables of a CSV or Parquet export: what stands in them, and their rows as they are streamed.

Shape: C classes.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

# `texts` and `integers` are lists: json in CSV, real lists in Parquet. `json` stays text in both.
Kind = Literal["integer", "real", "text", "json", "texts", "integers"]

_DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}


@dataclass(frozen=True)
class Column:
    """A column and its meaning with its unit, in a few words."""

    name: str
    kind: Kind
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table of the run log as it is exported; rows are sorted by run, then by ``order``."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    order: str = "id"

    def rows(self, connection: sqlite3.Connection, run_id: int) -> Iterator[tuple[Any, ...]]:
        """The rows of one run, in order, one after the other."""
        names = ", ".join(column.name for column in self.columns)
        owner = "id" if self.name == "runs" else "run_id"
        return connection.execute(
            f"SELECT {names} FROM {self.name} WHERE {owner} = ? ORDER BY {self.order}", (run_id,)
        )


class Snapshot(NamedTuple):
    """One row of class_vectors: values [C] float32 or int32."""

    field: str
    step: int
    epoch: int
    wall_time: float
    values: NDArray[Any]


def class_names(connection: sqlite3.Connection, run_id: int) -> list[str]:
    """The names of a run's classes by their index."""
    sql = "SELECT name FROM categories WHERE run_id = ? ORDER BY class_index"
    return [row[0] for row in connection.execute(sql, (run_id,))]


def snapshots(connection: sqlite3.Connection, run_id: int) -> Iterator[Snapshot]:
    """All class vectors of a run by field and time, one after the other."""
    rows = connection.execute(
        "SELECT field, step, epoch, wall_time, dtype, data FROM class_vectors"
        " WHERE run_id = ? ORDER BY field, id",
        (run_id,),
    )
    for field, step, epoch, wall_time, dtype, data in rows:
        yield Snapshot(field, step, epoch, wall_time, np.frombuffer(data, dtype=_DTYPES[dtype]))


_ID = Column("id", "integer", "number of the row; grows with time")
_RUN = Column("run_id", "integer", "number of the run")
_STEP = Column("step", "integer", "training steps done")
_EPOCH = Column("epoch", "integer", "epoch at work, from 0")
_WALL_TIME = Column("wall_time", "real", "when it was written, s since 1970-01-01 UTC")
_CLASS_INDEX = Column("class_index", "integer", "class, 0..C-1")
_PLACE = (_RUN, _STEP, _EPOCH, _WALL_TIME)

CLASS_VECTORS = Table(
    "class_vectors",
    "one row a class, field and snapshot",
    (
        _RUN,
        Column("field", "text", "what the values are; sorted by it"),
        _STEP,
        _EPOCH,
        _WALL_TIME,
        _CLASS_INDEX,
        Column("class_name", "text", "name of that class"),
        Column(
            "value",
            "real",
            "AP in percent, probabilities and scores 0..1, the rest without unit; empty when there "
            "is no data for the class",
        ),
    ),
    order="field, id",
)

TABLES = (
    Table(
        "runs",
        "one row a run",
        (
            Column("id", "integer", "number of the run, run_id elsewhere"),
            Column("uid", "text", "the run's name for life, the same in every installation"),
            Column("name", "text", "for people"),
            Column("note", "text", "for people"),
            Column("tags", "texts", "for people"),
            Column("dataset", "text", "what it trains on"),
            Column("status", "text", "queued, starting, running, paused, finished, stopped, ..."),
            Column("config", "json", "the whole configuration"),
            Column("parent_run", "integer", "the run it was forked or restarted from"),
            Column("parent_epoch", "integer", "the epoch it was forked from"),
            Column("parent_step", "integer", "the step it was forked from"),
            Column("created", "real", "when it was queued, s since 1970-01-01 UTC"),
            Column("started", "real", "when it was taken from the queue, s since 1970-01-01 UTC"),
            Column("ended", "real", "when it reached its end, s since 1970-01-01 UTC"),
            Column("archived", "real", "when it was archived, s since 1970-01-01 UTC"),
            Column("copied", "real", "when it came here from another log, s since 1970-01-01 UTC"),
            _STEP,
            Column("total_steps", "integer", "training steps in all"),
            _EPOCH,
            Column("total_epochs", "integer", "epochs in all"),
            Column("phase", "text", "what it is doing"),
            Column("error", "text", "why it ended badly"),
            Column("rewinds", "integer", "how often rows were deleted by a resume"),
        ),
    ),
    Table(
        "categories",
        "the classes of each run",
        (
            _RUN,
            _CLASS_INDEX,
            Column("category_id", "integer", "its id in the annotation file"),
            Column("name", "text", "its name in the annotation file"),
            Column("frequency", "text", "r (rare), c (common) or f (frequent)"),
            Column("image_count", "integer", "training images that show it"),
            Column("instance_count", "integer", "its training instances, the paper's N_c"),
        ),
        order="class_index",
    ),
    Table(
        "scalars",
        "curves: losses, learning rate, AP, knobs, speed; one row a value",
        (
            _ID,
            _RUN,
            Column("name", "text", "of the curve; sorted by it"),
            *_PLACE[1:],
            Column(
                "value",
                "real",
                "AP and *_percent in percent, *_seconds in s, images_per_second in 1/s, *_mb in "
                "MB, shares 0..1, the rest without unit; empty when it was not a number",
            ),
        ),
        order="name, id",
    ),
    CLASS_VECTORS,
    Table(
        "adaptation_summaries",
        "one row each time the sampling probabilities were adapted",
        (
            _ID,
            *_PLACE,
            Column("eps", "real", "DBSCAN's radius"),
            Column("eps_quantile", "real", "quantile of the distances that gave it, 0..1"),
            Column("num_groups", "integer", "super-groups"),
            Column("noise_share", "real", "share of classes DBSCAN called noise, 0..1"),
            Column("largest_group", "integer", "classes in the largest super-group"),
        ),
    ),
    Table(
        "adaptations",
        "one row each time and super-group: what its probabilities were multiplied with, and why",
        (
            _ID,
            *_PLACE,
            Column("super_group", "integer", "number of the group at that time only"),
            Column("members", "integers", "indices of its classes"),
            Column("noise_members", "integers", "those DBSCAN called noise"),
            Column("with_data", "integers", "those whose validation losses decided"),
            Column("clamped", "integers", "those held at a bound"),
            Column("loss_before", "real", "validation loss the time before"),
            Column("loss_after", "real", "validation loss now"),
            Column("factor", "real", "alpha, beta or 1"),
            Column("reason", "text", "fell, rose, tie, baseline, no validation data"),
        ),
    ),
    Table(
        "events",
        "what deserves a mark on every chart",
        (
            _ID,
            *_PLACE,
            Column("kind", "text", "a word"),
            Column("text", "text", "for people"),
            Column("payload", "json", "details"),
        ),
    ),
    Table(
        "commands",
        "what people asked a run for",
        (
            _ID,
            _RUN,
            Column("kind", "text", "set, pause, resume, stop, checkpoint, snapshot_features"),
            Column("payload", "json", "for set the knobs and their new values"),
            Column("created", "real", "when it was asked, s since 1970-01-01 UTC"),
            Column("answered", "real", "when it was answered, s since 1970-01-01 UTC"),
            Column("applied_step", "integer", "the step from which it holds"),
            Column("refusal", "text", "why it was refused"),
        ),
    ),
    Table(
        "attempts",
        "one row each time a trainer took the run up",
        (
            _ID,
            _RUN,
            Column("started", "real", "s since 1970-01-01 UTC"),
            Column("ended", "real", "s since 1970-01-01 UTC"),
            Column("from_step", "integer", "steps done when it began"),
            Column("to_step", "integer", "steps done when it ended"),
            Column("status", "text", "how it ended"),
            Column("error", "text", "why it ended badly"),
        ),
    ),
    Table(
        "checkpoints",
        "checkpoints that were on disk at the time of the export; their files are not in it",
        (
            *_PLACE[:3],
            Column("batch", "integer", "batches done in that epoch"),
            _WALL_TIME,
            Column("bytes", "integer", "size of the file in bytes"),
        ),
        order="step",
    ),
)


def read_me(suffix: str) -> str:
    """What is in the folder: its files, their columns, units and rules."""
    lines = [
        "Runs of FASA Live, exported as tidy tables (UTF-8; one file a table, one row a fact).",
        "",
        "Times are seconds since 1970-01-01 UTC. An empty cell (null) is a value that is not",
        "known, has not happened yet, or was not a number. Feature probes and snapshots, test",
        "images and the predictions on them are not here: export to sqlite for them.",
        "",
        *_RULES[suffix],
    ]
    for table in TABLES:
        lines += ["", f"{table.name}.{suffix}: {table.meaning}"]
        width = max(len(column.name) for column in table.columns)
        lines += [f"  {column.name:<{width}}  {column.meaning}" for column in table.columns]
    return "\n".join(lines) + "\n"


_RULES = {
    "csv": (
        "Text that a spreadsheet could take for a formula (it begins with = + - @, their",
        "full-width forms, a tab or a line break), or that begins with an apostrophe, has one more",
        "apostrophe before it: take one away to get the text back. Lists and payloads are json.",
        "",
        "pandas needs to be told that a run called NA or 007 is called so:",
        "",
        "    import pandas as pd",
        '    as_written = dict(keep_default_na=False, na_values=[""])',
        '    runs = pd.read_csv("runs.csv", dtype={"name": str, "note": str}, **as_written)',
        '    scalars = pd.read_csv("scalars.csv", **as_written)',
        "    curve = scalars.query(\"run_id == 1 and name == 'loss/total'\")",
        '    loss = curve.set_index("step")["value"]',
    ),
    "parquet": (
        "Lists are lists; payloads and config are json text. Compressed with zstd; class_vectors",
        "is sorted by run and field, so that a filter on them reads only their row groups.",
        "",
        "    import pandas as pd",
        '    one_field = [("run_id", "==", 1), ("field", "==", "score")]',
        '    vectors = pd.read_parquet("class_vectors.parquet", filters=one_field)',
        '    score = vectors.pivot_table(index="step", columns="class_index", values="value")',
    ),
}
