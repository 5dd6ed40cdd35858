"""An annotation file is parsed once: when its cache is used, and when it must not be."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from annotation_builders import document
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import data.annotation_cache
import data.annotation_table
from benchmarks.lvis_shaped import write_lvis_shaped
from data.annotation_table import AnnotationTable, open_annotations
from data.annotations import AnnotationError
from data.lvis import CheckedLVIS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A json in a folder of its own; the user's other folders for caches are empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "set").mkdir()
    return written(tmp_path / "set" / "annotations.json", document())


def written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content))
    return path


def caches(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if ".arrow" in entry.name)


def first_box(table: AnnotationTable) -> list[float]:
    return list(table.boxes[0].tolist())


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were parsed since."""
    paths: list[Path] = []

    def read(path: Path, *, drop_empty: bool) -> CheckedLVIS:
        paths.append(path)
        return CheckedLVIS(path, drop_empty=drop_empty)

    monkeypatch.setattr(data.annotation_table, "CheckedLVIS", read)
    return paths


def test_the_second_time_nothing_is_parsed(path: Path, parsed: list[Path]) -> None:
    for _ in range(3):
        assert first_box(open_annotations(path)) == [1, 2, 3, 2]
    assert parsed == [path]
    copied = path.with_name("copied.json")  # beside it lies a cache of its own
    shutil.copy(path, copied)
    open_annotations(copied)
    assert parsed == [path, copied]


def test_each_way_to_read_a_json_has_its_cache(path: Path, parsed: list[Path]) -> None:
    for drop_empty in (False, True, False, True):
        open_annotations(path, drop_empty=drop_empty)
    assert len(parsed) == len(caches(path)) == 2


def test_a_changed_json_is_read_anew_and_the_old_cache_goes(path: Path, parsed: list[Path]) -> None:
    open_annotations(path)
    before = caches(path)
    old = path.stat()
    content = document()
    content["annotations"][0]["bbox"] = [1, 2, 3, 1]
    written(path, content)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))  # of the same size and time
    assert path.stat().st_size == old.st_size
    assert first_box(open_annotations(path)) == [1, 2, 3, 1]
    assert len(parsed) == 2
    assert len(caches(path)) == 1
    assert caches(path) != before


def test_a_cache_in_use_outlives_its_json(path: Path) -> None:
    table = open_annotations(path)
    content = document()
    content["annotations"].pop()
    written(path, content)
    assert len(open_annotations(path).annotation_ids) == 3
    assert len(caches(path)) == 2  # a loader process may still want to open the first
    assert len(table.annotation_ids) == 4
    del table
    content["annotations"].pop()
    open_annotations(written(path, content))
    assert len(caches(path)) == 1


def test_what_a_killed_writer_left_goes(path: Path) -> None:
    left = path.with_name(f"{path.name}.0123456789abcdef.v1-whole.arrow.77.part")
    other = path.with_name("more.json.0123456789abcdef.v1-whole.arrow")
    for file in (left, other):
        file.write_bytes(b"x")
    open_annotations(path)
    assert not left.exists()
    assert other.exists()


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.booleans())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_cache_is_noticed(path: Path, place: float, flip: int, cut: bool) -> None:
    """A byte that is wrong, or the end that is missing."""
    table = open_annotations(path)
    expected = {name: column.tolist() for name, column in table._columns.items()}
    del table
    cache = next(path.parent.glob("*.arrow"))
    content = bytearray(cache.read_bytes())
    at = int(place * len(content))
    content[at] ^= flip
    cache.write_bytes(content[:at] if cut else content)
    again = open_annotations(path)
    assert {name: column.tolist() for name, column in again._columns.items()} == expected
    if cut:
        assert cache.stat().st_size == len(content)  # written anew


def test_a_damaged_cache_is_written_anew(path: Path, parsed: list[Path]) -> None:
    open_annotations(path)
    cache = next(path.parent.glob("*.arrow"))
    whole = cache.read_bytes()
    outline = whole.index(b"\x00\x00\x00\x00\x00\x00\xf0\x3f")  # a 1.0
    cache.write_bytes(whole[:outline] + b"\x01" + whole[outline + 1 :])
    open_annotations(path)
    open_annotations(path)
    assert parsed == [path, path]
    assert cache.read_bytes() == whole


def test_a_read_only_folder_stays_as_it_is(path: Path, parsed: list[Path], tmp_path: Path) -> None:
    path.parent.chmod(0o555)
    with pytest.warns(UserWarning, match=r"can't be kept in .*set \(it is read-only\), it is in"):
        open_annotations(path)
    assert first_box(open_annotations(path)) == [1, 2, 3, 2]
    assert parsed == [path]
    assert caches(path) == []
    assert len(list((tmp_path / "home").rglob("*.arrow"))) == 1
    path.parent.chmod(0o755)


def test_a_full_disk_leaves_nothing_behind(
    path: Path, tiny_disk: Path, parsed: list[Path], tmp_path: Path
) -> None:
    large = write_lvis_shaped(tiny_disk / "lvis.json", images=100, seed=0)
    assert large.stat().st_size > 1 << 20  # of 2 MiB
    with pytest.warns(UserWarning, match="No space left on device"):
        table = open_annotations(large)
    assert len(table.image_ids) == 100
    assert list(tiny_disk.iterdir()) == [large]
    open_annotations(large)
    assert parsed == [large]


def test_without_any_folder_the_sentence_names_them_all(path: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    folders = [path.parent, tmp_path / "home", tmp_path / "temporary"]
    for folder in folders:
        folder.chmod(0o555)
    # Root may make a folder in a read-only one: these are there already, and read-only as well.
    for folder in data.annotation_cache._folders(path.resolve())[1:]:
        folder.mkdir(parents=True)
        folder.chmod(0o555)
    with pytest.raises(AnnotationError, match="no folder takes the cache of") as refused:
        open_annotations(path)
    assert all(str(folder) in str(refused.value) for folder in folders)
    assert "\n" not in str(refused.value)


def test_a_home_that_is_none_takes_no_cache(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers the home is often another user's, or there is none."""
    monkeypatch.setenv("XDG_CACHE_HOME", "~/.cache")  # as it stays where nobody is found
    assert all(folder.is_absolute() for folder in data.annotation_cache._folders(path))
    stat = Path.stat

    def refused(self: Path, **options: bool) -> os.stat_result:
        if self.name == "fasa_live":
            raise PermissionError(13, "Permission denied", str(self))
        return stat(self, **options)

    monkeypatch.setenv("XDG_CACHE_HOME", "/home/other")
    monkeypatch.setattr(Path, "stat", refused)
    folders = data.annotation_cache._folders(path)
    assert len(folders) == 2
    assert first_box(open_annotations(path)) == [1, 2, 3, 2]


def test_a_json_that_changes_meanwhile_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path, *, drop_empty: bool) -> CheckedLVIS:
        index = CheckedLVIS(path, drop_empty=drop_empty)
        written(path, document() | {"info": "more"})
        return index

    monkeypatch.setattr(data.annotation_table, "CheckedLVIS", read)
    with pytest.raises(AnnotationError, match=r"was changed while it was read: start again"):
        open_annotations(path)
    assert caches(path) == []


def test_an_untouched_large_json_is_not_hashed_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    digest = data.annotation_cache.hashlib.file_digest

    def file_digest(file: Any, name: str) -> Any:
        hashed.append(name)
        return digest(file, name)

    monkeypatch.setattr(data.annotation_cache.hashlib, "file_digest", file_digest)
    monkeypatch.setattr(data.annotation_cache, "_NOTED_FROM", 0)
    for _ in range(2):
        open_annotations(path)
    assert len(hashed) == 2  # it was written a moment ago: a change need not show in its times
    monkeypatch.setattr(data.annotation_cache, "_SETTLED_NANOSECONDS", 0)
    for _ in range(3):
        open_annotations(path)
    assert len(hashed) == 3
    content = document()
    content["annotations"][0]["bbox"] = [1, 2, 3, 1]
    written(path, content)
    assert first_box(open_annotations(path)) == [1, 2, 3, 1]
    assert len(hashed) == 4
    path.with_name(f"{path.name}.sha256").write_text("{")
    open_annotations(path)
    assert len(hashed) == 5


def test_processes_that_start_at_once_parse_once(tmp_path: Path) -> None:
    path = write_lvis_shaped(tmp_path / "lvis.json", images=300, seed=0)
    program = (
        "import sys, data.annotation_table as t\n"
        "class Counted(t.CheckedLVIS):\n"
        "    def __init__(self, path, **options):\n"
        "        print('parsed')\n"
        "        super().__init__(path, **options)\n"
        "t.CheckedLVIS = Counted\n"
        "print('ready', flush=True); sys.stdin.read(1)\n"
        "print(len(t.open_annotations(t.Path(sys.argv[1])).annotation_ids))\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = [process.communicate("x")[0].split() for process in started]
    assert sum("parsed" in output for output in outputs) == 1
    assert len({output[-1] for output in outputs}) == 1
    assert len(caches(path)) == 1


def test_the_document_names_the_files_as_they_are(path: Path) -> None:
    open_annotations(path)
    (name,) = caches(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    shown = name.replace(path.name, "NAME.json").replace(digest, "<hash>")
    assert f"`{shown}`" in (ROOT / "docs" / "data.md").read_text()
