"""The page New run from presets, with Streamlit's AppTest: values, data, estimate, address."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from test_annotation_scan import document
from test_new_run_page import LIVE, MAIN, PAGE, command, knob, name_field, rerun, rows, start, texts

from app.config_checks import DATA_VARIABLE
from app.run_actions import start_demo
from app.source import RUNS_VARIABLE
from trainer.__main__ import main
from trainer.config import RunConfig
from trainer.presets import preset_values
from trainer.run_log.reader import RunLogReader
from trainer.run_log.schema import FILE_NAME


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path / "runs"))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "live.py").write_text(LIVE)
    (tmp_path / "main.py").write_text(MAIN.format(page=str(PAGE)))
    return tmp_path / "runs"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "train").mkdir(parents=True)
    for number in range(20):
        (folder / "train" / f"{number:04d}.jpg").touch()
    (folder / "train.json").write_text(json.dumps(document(images=20, objects=60, classes=3)))
    return folder


def open_page(runs: Path, **query: str) -> AppTest:
    page = AppTest.from_file(str(runs.parent / "main.py"), default_timeout=30)
    for name, value in query.items():
        page.query_params[name] = value
    return rerun(page)


def facts(page: AppTest) -> str:
    return "\n".join(element.proto.body for element in page.get("html"))


def test_the_demo_is_started_in_a_folder_that_is_not_there_yet(runs: Path) -> None:
    page = open_page(runs)
    assert command(page) == "fasa queue --preset demo"
    assert "792 in 12 epochs" in facts(page)
    assert "nothing tells how long a step takes" in facts(page)
    assert not runs.exists()
    start(page)
    assert texts(page) == ["live page of run 1"]
    [run] = rows()
    assert (run.name, run.dataset, run.status) == ("demo", "demo (60 classes)", "queued")
    assert run.config == RunConfig(distance="ratio_of_sums").model_dump(mode="json")


def test_presets_are_laid_over_one_another_and_the_name_follows(runs: Path) -> None:
    page = open_page(runs)
    page.multiselect(key="preset").set_value(["static-15", "static-5", "photos"])
    rerun(page)
    assert name_field(page).value == "static-15,static-5,photos"
    assert knob(page, "initial_scale").value == 5.0
    assert knob(page, "anchor_sizes").value == "20, 40, 80, 160"
    name_field(page).set_value("mine")
    rerun(page)
    page.multiselect(key="preset").set_value([])
    rerun(page)
    assert command(page) == "fasa queue --preset paper --name mine"
    assert page.query_params["preset"] == ""
    start(page)
    assert rows()[0].config == RunConfig().model_dump(mode="json")


def test_the_address_holds_what_was_entered_and_gives_it_back(runs: Path) -> None:
    page = open_page(runs)
    for name, value in {"alpha": 1.3, "fasa": True, "epochs": None, "milestones": "3, 4"}.items():
        knob(page, name).set_value(value)
    knob(page, "clamp_negative").set_value(True)
    rerun(page)
    query = {name: page.query_params[name] for name in page.query_params}
    assert query == {"alpha": "1.3", "epochs": "", "milestones": "3, 4", "clamp_negative": "on"}
    again = open_page(runs, **query)
    assert knob(again, "alpha").value == 1.3
    assert knob(again, "epochs").value is None
    assert knob(again, "clamp_negative").value is True
    assert "epochs is empty, but has to be a whole number 1 to 1000000" in texts(again)[-1]
    knob(again, "epochs").set_value(3)
    start(again)
    config = rows()[0].config
    assert (config["alpha"], config["epochs"], config["milestones"]) == (1.3, 3, [3, 4])


@pytest.mark.parametrize(
    "query",
    [{"alpha": "many", "sampling": "<b>", "fasa": "1", "epochs": "1e999", "seed": "9" * 99},
     {"preset": "none of ours", "how": "x", "step": "-1", "name": ""}, {"images": "x" * 5000}],
)  # fmt: skip
def test_an_address_nobody_understands_changes_nothing(query: dict[str, str], runs: Path) -> None:
    page = open_page(runs, **query)
    start(page)
    if query.get("name") == "":
        assert texts(page)[-1].startswith("A run's name ")
        return
    assert rows()[0].config == RunConfig(**preset_values(["demo"])).model_dump(mode="json")


def test_the_group_that_holds_what_is_refused_opens_and_stays_open(runs: Path, data: Path) -> None:
    page = open_page(runs, preset="lvis_v1/mask_rcnn_r50_24e")
    assert {group.label for group in page.expander if group.proto.expanded} == {
        "Data · 1 refused",
        "FASA",
    }
    knob(page, "data_folder").set_value(str(data))
    rerun(page)
    assert "Data · 1 changed" in [group.label for group in page.expander if group.proto.expanded]


def test_data_of_ones_own_is_checked_before_it_starts(runs: Path, data: Path) -> None:
    page = open_page(runs, preset="photos", data="coco")
    assert texts(page)[-1].startswith("data=coco needs a training json and its image folder")
    knob(page, "annotations").set_value(str(data / "train.json"))
    knob(page, "images").set_value(str(data))
    rerun(page)
    assert "20 images, 60 objects, 3 classes" in facts(page)
    assert "All 20 images looked for are there." in facts(page)
    assert "240 in 24 epochs" in facts(page)  # 19 images are 10 steps of 2
    (data / "train" / "0007.jpg").unlink()
    start(page)
    assert [text for text in texts(page) if text.startswith("train images: 1 of 20 that were")]
    assert not (runs / FILE_NAME).exists()
    (data / "train" / "0007.jpg").touch()
    start(page)
    assert rows()[0].dataset == "train"


@pytest.mark.slow
def test_the_command_shown_queues_the_same_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = open_page(runs, preset="demo,static-5", demo_classes="4", name="one's own", alpha="1.5")
    words = shlex.split(str(page.code[0].value))
    start(page)
    assert main(words[1:]) == 0, capsys.readouterr().err
    shown, typed = rows()
    same: tuple[Any, ...] = (shown.name, shown.config, shown.dataset, shown.parent_run)
    assert (typed.name, typed.config, typed.dataset, typed.parent_run) == same


def test_one_button_starts_one_demo(tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs" / FILE_NAME
    assert start_demo(path, []) == ""
    with RunLogReader(path) as reader:
        assert start_demo(path, reader.runs()) == ""
        [run] = reader.runs()
    assert (run.name, run.status, run.config["distance"]) == ("demo", "queued", "ratio_of_sums")
    (tmp_path / "file").touch()
    assert "cannot be made" in start_demo(tmp_path / "file" / "runs" / FILE_NAME, [])


LVIS_ROW = "lvis_v1/mask_rcnn_r50_24e_rfs"


def test_rows_of_a_data_set_are_found_and_taken(runs: Path) -> None:
    page = open_page(runs)
    [choice] = page.button_group
    choice.set_value("LVIS v1")
    rerun(page)
    assert page.multiselect(key="preset").value == []  # the demo would lie below a row of LVIS
    assert not page.code  # nothing to start yet
    offered = [button.label for button in page.button]
    assert {"mask_rcnn_r50_24e_rfs", "cascade_mask_rcnn_r101_24e_fasa"} <= set(offered)
    page.text_input(key="preset-find").set_value("R50 24 FASA")
    rerun(page)
    found = ["mask_rcnn_r50_24e_fasa", "mask_rcnn_r50_24e_rfs_fasa"]
    assert [button.label for button in page.button][:2] == found
    page.button(key=f"take-{LVIS_ROW}_fasa").click()
    rerun(page)
    assert page.query_params["preset"] == f"{LVIS_ROW}_fasa"
    assert name_field(page).value == f"{LVIS_ROW}_fasa"
    assert knob(page, "train_min_sizes").value == "640, 672, 704, 736, 768, 800"
    [choice] = page.button_group
    choice.set_value("COCO-LT")
    rerun(page)
    assert page.multiselect(key="preset").value == []
    page.text_input(key="preset-find").set_value("nothing of the kind")
    rerun(page)
    assert any(text.startswith("No preset of this data set has") for text in texts(page))


def test_a_row_needs_its_data_and_says_what_another_batch_size_wants(runs: Path) -> None:
    page = open_page(runs, preset=f"{LVIS_ROW},static-5")
    assert page.button_group[0].value == "LVIS v1"
    assert knob(page, "initial_scale").value == 5.0
    assert "--data-folder FOLDER" in texts(page)[-1]
    start(page)
    assert not (runs / FILE_NAME).exists()
    page = open_page(runs, preset=LVIS_ROW, data="demo", batch_size="4")
    [advice] = [element.value for element in page.info]
    assert "linear scaling rule has learning_rate 0.005" in advice
    knob(page, "batch_size").set_value(16)
    rerun(page)
    assert not page.info
