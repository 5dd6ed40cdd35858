"""Feature snapshots in exports: they travel to the bit, pictures of them do not, and foreign ones
are taken only when everything in them fits together.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from transfer_logs import add_run, contents, folder, tampered

from trainer.run_log.commands import queue_run
from trainer.run_log.projections import begin_projection, store_measures
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder
from trainer.transfer.errors import TransferError
from trainer.transfer.export import export_runs
from trainer.transfer.merge import import_runs


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> RunsFolder:
    """One run with two snapshots; of the first a picture is being made."""
    here = folder(tmp_path_factory.mktemp("here") / "runs")
    add_run(here)
    assert begin_projection(here.run_log, 1, 1, "umap")
    measures = {"accuracy_virtual": (np.zeros(5, np.float32), {"all": 0.0})}
    assert store_measures(here.run_log, 1, 1, measures)
    return here


@pytest.fixture(scope="module")
def original(here: RunsFolder) -> Path:
    (path,) = export_runs(here, [1], format="sqlite", to=here.root.parent / "sent.sqlite")
    return path


@pytest.fixture
def sent(original: Path, tmp_path: Path) -> Path:
    """A whole export of the run, to be spoiled."""
    return Path(shutil.copy(original, tmp_path))


def test_snapshots_travel_and_pictures_and_measures_of_them_do_not(
    here: RunsFolder, sent: Path, tmp_path: Path
) -> None:
    there = folder(tmp_path / "there")
    add_run(there, name="there before")
    assert import_runs(there, sent) == [2]
    with RunLogReader(here.run_log) as reader:
        before = reader.features.snapshots(1)
        assert (len(reader.features.projections(1)), len(reader.features.measures(1))) == (1, 1)
    with RunLogReader(sent) as reader:
        assert reader.features.projections(1) == reader.features.measures(1) == []
    with RunLogReader(there.run_log) as reader:
        after = reader.features.snapshots(2)
        assert reader.features.projections(2) == reader.features.measures(2) == []
        assert [row.id for row in after] == [3, 4]
    assert len(before) == 2
    for old, new in zip(before, after, strict=True):
        for name in ("step", "epoch", "wall_time", "virtual_per_class"):
            assert getattr(old, name) == getattr(new, name)
        for name in ("objects", "real", "real_loss", "mean", "deviation", "virtual", "prior_size"):
            assert getattr(old, name).tobytes() == getattr(new, name).tobytes(), name


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_leave_features_out(here: RunsFolder, tmp_path: Path, form: str) -> None:
    files = export_runs(here, [1], format=form, to=tmp_path / "tables")  # type: ignore[arg-type]
    assert not [file.name for file in files if "feature" in file.name or "project" in file.name]


OWN_RULE = "CHECK constraint failed"  # the table's own rule, when the row is put in
CHANGES = {
    "an object that is not there": ("objects", "x'0000000002000000'", "object index .* 0 to 1"),
    "an object below": ("objects", "x'ffffffff00000000'", "object index"),
    "an object twice": ("objects", "x'0000000000000000'", "objects of a snapshot do not rise"),
    "half an object": ("objects", "substr(objects, 1, 6)", "multiple of element size"),
    "an object too few": ("objects", "x'00000000'", OWN_RULE),
    "a class that is not there": ("classes", "x'0000000005000000'", "class index .* 0 to 4"),
    "falling classes": ("classes", "x'0300000001000000'", "classes of a snapshot do not rise"),
    "a prediction past background": ("real_predicted", "x'0000000006000000'", "predicted .* to 5"),
    "a prediction below": ("virtual_predicted", "CAST(x'ffffffff' || zeroblob(12) AS BLOB)",
                           "predicted class"),
    "a cut feature": ("real", "substr(real, 1, 10)", OWN_RULE),
    "a feature more": ("real", "CAST(real || real AS BLOB)", OWN_RULE),
    "features of another length": ("feature_dim", "6", OWN_RULE),
    "features of no length": ("feature_dim", "0", OWN_RULE),
    "features of a length below": ("feature_dim", "-3", "-3 is no count"),
    "no loss": ("real_loss", "x''", OWN_RULE),
    "one loss more": ("virtual_loss", "zeroblob(20)", OWN_RULE),
    "a cut mean": ("mean", "substr(mean, 1, 6)", OWN_RULE),
    "a cut deviation": ("deviation", "x''", OWN_RULE),
    "another number of priors": ("prior_size", "zeroblob(12)", OWN_RULE),
    "another number of each": ("virtual_per_class", "3", OWN_RULE),
    "fewer than none of each": ("virtual_per_class", "-2", "-2 is no count"),
    "a cut virtual feature": ("virtual", "substr(virtual, 1, 22)", OWN_RULE),
}  # fmt: skip


@pytest.mark.parametrize(("column", "value", "words"), CHANGES.values(), ids=CHANGES.keys())
def test_a_snapshot_that_cannot_be(
    sent: Path, tmp_path: Path, column: str, value: str, words: str
) -> None:
    there = folder(tmp_path / "there")
    queue_run(there.run_log, name="there before", config={}, dataset="demo")
    before = contents(there.run_log, deleted=True)
    with tampered(sent) as connection:
        connection.execute(f"UPDATE feature_snapshots SET {column} = {value} WHERE id = 1")
    with pytest.raises(TransferError, match=f"feature_snapshots that cannot be taken.*{words}"):
        import_runs(there, sent)
    assert contents(there.run_log, deleted=True) == before


def test_a_row_too_large_to_be_read(
    sent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = folder(tmp_path / "there")
    with tampered(sent) as connection:
        connection.execute(
            "UPDATE feature_probes SET picture = CAST(x'ffd8ff' || zeroblob(200000) AS BLOB)"
        )
    with monkeypatch.context() as lowered:
        lowered.setattr("trainer.transfer.foreign_log.LARGEST_VALUE", 100_000)
        with pytest.raises(TransferError, match="too big"):
            import_runs(there, sent)
    assert import_runs(there, sent) == [2]  # what the refused one had is not given out again
