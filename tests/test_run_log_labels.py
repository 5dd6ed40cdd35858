"""Names, notes, tags, archive: text that people give a run, and what is refused."""

from pathlib import Path

import pytest

from trainer.run_log.commands import (
    queue_run,
    rename_run,
    set_archived,
    set_note,
    set_status,
    set_tags,
)
from trainer.run_log.reader import RunLogReader
from trainer.run_log.rows import Run
from trainer.run_log.schema import RunLogError

MARKUP = "<b>&amp;'; DROP TABLE runs; -- \u4f60 \U0001f42f"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fasa.sqlite"
    queue_run(path, name="first", config={}, dataset="demo")
    queue_run(path, name="second", config={}, dataset="demo")
    return path


def run(path: Path, run_id: int = 1) -> Run:
    with RunLogReader(path) as reader:
        return reader.run(run_id)


def test_labels_are_kept_as_they_are_and_of_one_run_only(path: Path) -> None:
    rename_run(path, 1, f"  {MARKUP}  ")
    set_note(path, 1, f"{MARKUP}\n\tindented\r\n ")
    set_tags(path, 1, [" long tail ", MARKUP, "long tail"])
    set_archived(path, 1, True)
    found = run(path)
    assert found.name == MARKUP
    assert found.note == f"{MARKUP}\n\tindented\r\n "
    assert found.tags == ["long tail", MARKUP]
    assert found.archived is not None
    other = run(path, 2)
    assert (other.name, other.note, other.tags, other.archived) == ("second", "", [], None)


def test_labels_can_be_taken_away_again(path: Path) -> None:
    for tags, note, archived in ((["a"], "x", True), ([], "", False)):
        set_tags(path, 1, tags)
        set_note(path, 1, note)
        set_archived(path, 1, archived)
    found = run(path)
    assert (found.tags, found.note, found.archived) == ([], "", None)


@pytest.mark.parametrize("status", ["queued", "running", "finished", "crashed"])
def test_a_run_in_any_state_can_be_labelled(path: Path, status: str) -> None:
    set_status(path, 1, status)
    rename_run(path, 1, "new")
    set_tags(path, 1, ["a"])
    assert (run(path).name, run(path).tags, run(path).status) == ("new", ["a"], status)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "1 to 200 characters and this one 0: type one"),
        (" \t ", "this one 0"),
        ("x" * 201, "this one 201: shorten it"),
        ("two\nlines", r"U\+000A"),
        ("bell\a", r"U\+0007"),
        ("null\0", r"U\+0000"),
        ("c1\x9b31m", r"U\+009B"),
        ("line\u2028separator", r"U\+2028"),
        ("turned\u202egnp.exe", r"U\+202E"),
        ("isolated\u2066", r"U\+2066"),
    ],
)
def test_what_is_no_name(path: Path, name: str, words: str) -> None:
    with pytest.raises(RunLogError, match=words):
        rename_run(path, 1, name)
    with pytest.raises(RunLogError, match=words):
        queue_run(path, name=name, config={}, dataset="demo")
    assert run(path).name == "first"
    with RunLogReader(path) as reader:
        assert len(reader.runs()) == 2


def test_the_longest_labels_fit(path: Path) -> None:
    rename_run(path, 1, "\U0001f42f" * 200)
    set_note(path, 1, "\U0001f42f" * 10_000)
    set_tags(path, 1, [f"{number:040}" for number in range(20)])
    found = run(path)
    assert (len(found.name), len(found.note), len(found.tags)) == (200, 10_000, 20)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (["x" * 41], "1 to 40 characters and this one 41"),
        (["fine", " "], "1 to 40 characters and this one 0"),
        (["a\nb"], r"A tag holds no control characters.*U\+000A"),
        ([str(number) for number in range(21)], "at most 20 tags, not 21"),
    ],
)
def test_what_are_no_tags(path: Path, tags: list[str], words: str) -> None:
    set_tags(path, 1, ["kept"])
    with pytest.raises(RunLogError, match=words):
        set_tags(path, 1, tags)
    assert run(path).tags == ["kept"]


@pytest.mark.parametrize(
    ("note", "words"),
    [("x" * 10_001, "at most 10000 characters and this one 10001"), ("\x1b[2J", r"U\+001B")],
)
def test_what_is_no_note(path: Path, note: str, words: str) -> None:
    set_note(path, 1, "kept")
    with pytest.raises(RunLogError, match=words):
        set_note(path, 1, note)
    assert run(path).note == "kept"


def test_text_that_is_no_unicode_is_kept_with_question_marks(path: Path) -> None:
    broken = b"file \xff".decode("utf-8", "surrogateescape")
    rename_run(path, 1, broken)
    set_note(path, 1, broken)
    set_tags(path, 1, [broken])
    found = run(path)
    assert (found.name, found.note, found.tags) == ("file ?", "file ?", ["file ?"])


def test_a_run_that_is_not_there(path: Path) -> None:
    for change in (
        lambda: rename_run(path, 7, "x"),
        lambda: set_note(path, 7, "x"),
        lambda: set_tags(path, 7, []),
        lambda: set_archived(path, 7, True),
    ):
        with pytest.raises(RunLogError, match="no run 7"):
            change()
