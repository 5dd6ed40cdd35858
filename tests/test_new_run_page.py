"""The page New run with Streamlit's AppTest and a real run log: restart, fork, and refusals."""

import shlex
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from browser.synthetic_log import SyntheticRun
from streamlit.testing.v1 import AppTest

from app.config_checks import DATA_VARIABLE
from app.run_draft import checkpoint_label
from app.source import RUNS_VARIABLE, source
from trainer.__main__ import main
from trainer.run_log.commands import mark_deleted, queue_run
from trainer.run_log.rows import CheckpointRow, Run
from trainer.run_log.schema import FILE_NAME
from trainer.runs_folder import RunsFolder

STEPS = 6  # an epoch
# The page itself, beside a live page that says which run it was opened for.
MAIN = """
import streamlit as st

new = st.Page({page!r}, url_path="new", default=True)
live = st.Page("pages/live.py", url_path="run")
st.navigation([new, live]).run()
"""
LIVE = """
import streamlit as st

st.text(f"live page of run {st.query_params['run']}")
"""
PAGE = Path(__file__).resolve().parents[1] / "app" / "pages" / "new_run.py"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv(RUNS_VARIABLE, str(folder))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "live.py").write_text(LIVE)
    (tmp_path / "main.py").write_text(MAIN.format(page=str(PAGE)))
    return folder


@pytest.fixture
def parent(runs: Path) -> SyntheticRun:
    """Three epochs and two steps; alpha was set after the second epoch, beta after the third."""
    run = SyntheticRun(runs, name="demo", epochs=12, steps_per_epoch=STEPS)
    with run.start() as writer:
        run.advance(2 * STEPS + 1)
        writer.scalars({"knob/alpha": 1.2}, step=run.step, epoch=2)
        run.advance(STEPS)
        writer.scalars({"knob/beta": 0.8, "knob/gone": 1.0}, step=run.step, epoch=3)
        run.advance(1)
        run.keep_checkpoint(epoch=3, batch=2)
    return run


def open_form(runs: Path, run: int, how: str, **query: str) -> AppTest:
    page = AppTest.from_file(str(runs.parent / "main.py"), default_timeout=30)
    for name, value in {"parent": str(run), "how": how, **query}.items():
        page.query_params[name] = value
    return rerun(page)


def rerun(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception
    return page


def start(page: AppTest) -> AppTest:
    [button] = [button for button in page.button if str(button.key).endswith("-start")]
    button.click()
    return rerun(page)


def at(page: AppTest, kind: str, ending: str) -> Any:
    """The one element of a kind whose key ends so."""
    [found] = [element for element in page.get(kind) if str(element.key).endswith(ending)]
    return found


def knob(page: AppTest, name: str) -> Any:
    kinds = ("number_input", "toggle", "selectbox", "text_input")
    found = [e for kind in kinds for e in page.get(kind) if str(e.key).endswith(f"-knob-{name}")]
    assert len(found) == 1
    return found[0]


def checkpoint(page: AppTest) -> Any:
    return page.selectbox(key="from-1")


def name_field(page: AppTest) -> Any:
    return at(page, "text_input", "-name")


def rows() -> list[Run]:
    reader = source().reader()
    assert reader is not None
    return reader.runs()


def command(page: AppTest) -> str:
    [code] = page.code
    words = shlex.split(str(code.value))
    assert words[-2] == "--runs"
    return shlex.join(words[:-2])


def texts(page: AppTest) -> list[str]:
    return [element.value for element in page.text]


def test_a_fork_takes_its_parents_knobs_as_they_stood(runs: Path, parent: SyntheticRun) -> None:
    page = open_form(runs, parent.id, "fork")
    choice = checkpoint(page)
    assert choice.options == [
        "epoch 4, after batch 2 · step 20 · 44.0 MB",
        "end of epoch 3 · step 18 · 44.0 MB",
        "end of epoch 2 · step 12 · 44.0 MB",
    ]
    assert choice.value == 20
    assert command(page) == "fasa fork 1 --step 20"
    assert (knob(page, "alpha").value, knob(page, "beta").value) == (1.2, 0.8)
    checkpoint(page).set_value(3 * STEPS)
    rerun(page)
    assert (knob(page, "alpha").value, knob(page, "beta").value) == (1.2, 0.9)
    checkpoint(page).set_value(2 * STEPS)
    rerun(page)
    assert (knob(page, "alpha").value, knob(page, "beta").value) == (1.1, 0.9)
    assert command(page) == "fasa fork 1 --epoch 2"


def test_a_checkpoint_chosen_with_the_click_brings_its_own_knobs(
    runs: Path, parent: SyntheticRun
) -> None:
    page = open_form(runs, parent.id, "fork")
    knob(page, "m").set_value(0.2)
    checkpoint(page).set_value(2 * STEPS)
    start(page)
    child = rows()[1]
    assert (child.parent_step, child.config["alpha"], child.config["m"]) == (12, 1.1, 0.2)


def test_a_fork_is_queued_with_its_edits_and_its_parent(runs: Path, parent: SyntheticRun) -> None:
    page = open_form(runs, parent.id, "fork")
    checkpoint(page).set_value(3 * STEPS)
    rerun(page)
    knob(page, "alpha").set_value(1.3)
    knob(page, "epochs").set_value(24)
    rerun(page)
    assert command(page) == "fasa fork 1 --epoch 3 --epochs 24 --alpha 1.3"
    start(page)
    [given, child] = rows()
    assert (child.parent_run, child.parent_epoch, child.parent_step) == (1, 3, 3 * STEPS)
    assert (child.status, child.name) == ("queued", "demo (fork)")
    assert child.dataset == given.dataset
    assert child.config == given.config | {"alpha": 1.3, "epochs": 24}
    assert texts(page) == ["live page of run 2"]


def test_a_restart_has_its_parents_configuration(runs: Path, parent: SyntheticRun) -> None:
    page = open_form(runs, parent.id, "restart")
    assert not [box for box in page.selectbox if box.key == "from-1"]
    assert knob(page, "alpha").value == 1.1  # as it started, not as it was steered
    name_field(page).set_value("  seed 7 <b>bold</b> ")
    knob(page, "seed").set_value(7)
    rerun(page)
    assert command(page) == "fasa restart 1 --name '  seed 7 <b>bold</b> ' --seed 7"
    start(page)
    [given, child] = rows()
    assert (child.parent_run, child.parent_epoch, child.parent_step) == (1, None, None)
    assert child.name == "seed 7 <b>bold</b>"
    assert child.config == given.config | {"seed": 7}


@pytest.mark.parametrize("kind", ["restart", "fork"])
def test_the_command_shown_queues_the_same_run(
    kind: str, runs: Path, parent: SyntheticRun, capsys: pytest.CaptureFixture[str]
) -> None:
    page = open_form(runs, parent.id, kind)
    if kind == "fork":
        checkpoint(page).set_value(3 * STEPS)
        file = RunsFolder(runs).checkpoints(parent.id) / f"step-{3 * STEPS:08d}.pt"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"weights")
    name_field(page).set_value("-what if; `x` $HOME 'ü'")
    rerun(page)
    edits = {"alpha": 1.3, "clamp_negative": True, "unbiased": False, "sampling": "static"}
    if kind == "restart":
        edits |= {"milestones": "3, 4", "seed": 2**53 - 1}
    for name, value in edits.items():
        knob(page, name).set_value(value)
    rerun(page)
    [code] = page.code
    words = shlex.split(str(code.value))
    start(page)
    assert [words[0], *words[-2:]] == ["fasa", "--runs", str(runs)]
    assert main(words[1:]) == 0, capsys.readouterr().err
    [_, shown, typed] = rows()
    own = ("id", "uid", "created")
    assert {k: v for k, v in asdict(shown).items() if k not in own} == {
        k: v for k, v in asdict(typed).items() if k not in own
    }


def test_an_edit_that_comes_with_the_click_counts(runs: Path, parent: SyntheticRun) -> None:
    page = open_form(runs, parent.id, "fork")
    knob(page, "alpha").set_value(1.4)
    start(page)
    assert rows()[1].config["alpha"] == 1.4


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("alpha", 99.0, "alpha is 99.0, but input should be less than or equal to 10"),
        ("milestones", "8, x", "milestones.1 is 'x', but "),
        ("backbone_weights", "/etc/passwd", "backbone_weights is '/etc/passwd', which is not ins"),
        ("backbone_weights", "a\0b", "backbone_weights is 'a\0b', which is not inside "),
        ("backbone_weights", "x" * 10_000, "backbone_weights is 'xxxxxxxxx"),
        ("annotations", "../../etc/passwd", "annotations is '../../etc/passwd', which is not in"),
    ],
)
def test_what_breaks_a_rule_is_said_and_nothing_is_queued(
    name: str, content: Any, sentence: str, runs: Path, parent: SyntheticRun
) -> None:
    page = open_form(runs, parent.id, "restart")
    if name == "annotations":
        knob(page, "images").set_value("pictures")
    knob(page, name).set_value(content)
    rerun(page)
    assert sum(text.startswith(sentence) for text in texts(page)) == 2  # beside it, and below
    assert not page.code
    start(page)
    assert texts(page)[-1].startswith(sentence)
    assert len(texts(page)[-1]) < 600
    assert len(rows()) == 1
    assert sorted(path.name for path in runs.parent.iterdir()) == ["main.py", "pages", "runs"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "two\nlines", "\u202eturned"])
def test_a_name_that_is_none_is_refused(name: str, runs: Path, parent: SyntheticRun) -> None:
    page = open_form(runs, parent.id, "restart")
    name_field(page).set_value(name)
    start(page)
    assert texts(page)[-1].startswith("A run's name ")
    assert len(rows()) == 1


def test_a_long_name_leaves_room_for_what_the_run_is(runs: Path) -> None:
    SyntheticRun(runs, name="n" * 200)
    page = open_form(runs, 1, "restart")
    assert name_field(page).value == "n" * 190 + " (restart)"
    assert command(page) == "fasa restart 1"
    start(page)
    assert len(rows()) == 2


def test_a_fork_needs_a_checkpoint(runs: Path) -> None:
    run = SyntheticRun(runs)
    page = open_form(runs, run.id, "fork")
    [sentence] = texts(page)
    assert sentence.startswith("Run 1 has no checkpoint on disk to fork from: wait for ")
    assert not page.button


def test_a_fork_needs_epochs_left_to_train(runs: Path) -> None:
    run = SyntheticRun(runs, epochs=2, steps_per_epoch=STEPS)
    run.start()
    run.finish()
    page = open_form(runs, run.id, "fork")
    assert checkpoint(page).value == STEPS  # the last one leaves nothing to do
    checkpoint(page).set_value(2 * STEPS)
    start(page)
    assert texts(page)[-1] == (
        "epochs is 2, but the fork starts after 2: raise epochs, or fork from an earlier checkpoint"
    )
    knob(page, "epochs").set_value(3)
    start(page)
    assert rows()[1].parent_step == 2 * STEPS


def test_a_checkpoint_that_goes_while_the_form_is_open(runs: Path, parent: SyntheticRun) -> None:
    page = open_form(runs, parent.id, "fork")
    checkpoint(page).set_value(2 * STEPS)
    name_field(page).set_value("mine")
    knob(page, "alpha").set_value(1.3)
    rerun(page)
    forget_checkpoint(runs, 2 * STEPS)
    start(page)
    assert texts(page) == [
        "The chosen checkpoint is no longer on disk, newer ones came: choose another."
    ]
    assert len(rows()) == 1
    checkpoint(page).set_value(3 * STEPS)
    rerun(page)
    assert knob(page, "alpha").value == 1.3  # edits are kept meanwhile
    assert name_field(page).value == "mine"


def forget_checkpoint(runs: Path, step: int) -> None:
    with sqlite3.connect(runs / FILE_NAME) as connection:
        connection.execute("DELETE FROM checkpoints WHERE step = ?", (step,))
    connection.close()


def test_a_deleted_parent_and_a_foreign_configuration_are_said(runs: Path) -> None:
    run = SyntheticRun(runs)
    page = open_form(runs, run.id, "restart")
    mark_deleted(run.path, run.id, True)
    start(page)
    assert texts(page)[-1].startswith("There is no run '1' to start from, or it was deleted")
    assert len(rows()) == 0
    other = queue_run(run.path, name="x", config={"alpha": 99, "<b>": 1}, dataset="x")
    page = open_form(runs, other, "restart")
    titles = [element.value for element in page.markdown]
    assert "**This run cannot be the start of another**" in titles
    assert texts(page) == ["alpha is 99, but input should be less than or equal to 10"]


def test_checkpoints_are_named_by_where_they_stand() -> None:
    row = CheckpointRow(step=396, epoch=6, batch=0, wall_time=0.0, bytes=12_345_678)
    assert checkpoint_label(row) == "end of epoch 6 · step 396 · 12.3 MB"
    assert checkpoint_label(row._replace(batch=5)).startswith("epoch 7, after batch 5 · step 396")
    assert checkpoint_label(row._replace(epoch=0, step=0)).startswith("start · step 0")
