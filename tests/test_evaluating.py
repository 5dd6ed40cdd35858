"""`fasa evaluate` on a real run: its figures are the run's, and its files the LVIS tools'."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_lines import Fasa
from evaluation_builders import Table, without_boxes, without_masks
from lvis import LVIS, LVISEval, LVISResults
from small_runs import queue_small

from trainer.checkpoint_files import checkpoints
from trainer.execute import execute
from trainer.run_log.reader import RunLogReader
from trainer.runs_folder import RunsFolder

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Trained:
    """A finished run and its test set."""

    folder: RunsFolder
    id: int

    @property
    def truth(self) -> Path:
        return self.folder.datasets / "demo-6" / "annotations" / "test.json"

    @property
    def images(self) -> Path:
        return self.folder.datasets / "demo-6" / "images"

    @property
    def checkpoint(self) -> Path:
        return checkpoints(self.folder.checkpoints(self.id))[-1]

    def logged(self, step: int) -> dict[str, float]:
        """The AP the run itself found."""
        with RunLogReader(self.folder.run_log) as reader:
            return reader.last_scalars(self.id, "segm/AP", step=step) | reader.last_scalars(
                self.id, "bbox/AP", step=step
            )


@pytest.fixture(scope="module")
def trained(folder: RunsFolder) -> Trained:
    run_id = queue_small(folder, epochs=2)
    assert execute(folder, run_id) == "finished"
    return Trained(folder, run_id)


@pytest.fixture
def fasa(trained: Trained, capsys: pytest.CaptureFixture[str]) -> Fasa:
    return Fasa(trained.folder.root, capsys)


def figures(fasa: Fasa, tmp_path: Path, *words: str) -> dict[str, Any]:
    """What `fasa evaluate` writes for programs."""
    path = tmp_path / "figures.json"
    fasa.says("evaluate", *words, f"--json={path}")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def same(metrics: dict[str, float], logged: dict[str, float]) -> None:
    assert metrics["bbox/AP"] > 0
    for name, value in logged.items():
        if not name.partition("/")[2].startswith(("AP_fixed", "AP_pool")):
            assert metrics[name] == pytest.approx(value, abs=1e-9), name


def test_a_run_is_evaluated_as_it_evaluated_itself(
    trained: Trained, fasa: Fasa, tmp_path: Path
) -> None:
    said = fasa.says("evaluate", "small", "--classes")
    assert "boxes" in said
    assert "masks" in said
    assert "AP_fixed" not in said  # detections are capped per image
    with RunLogReader(trained.folder.run_log) as reader:
        assert all(row.name in said for row in reader.categories(trained.id))
        steps = [row.step for row in reader.checkpoints(trained.id)]
    newest = figures(fasa, tmp_path, "small")
    same(newest["metrics"], trained.logged(steps[-1]))
    assert newest["images"] == 20
    assert len(newest["classes"]) == 6
    assert newest == figures(fasa, tmp_path, str(trained.checkpoint))
    first = figures(fasa, tmp_path, str(trained.id), "--epoch=1")
    same(first["metrics"], trained.logged(steps[0]))
    best = figures(fasa, tmp_path, str(trained.id), "--best")
    reached = [trained.logged(step)["segm/AP"] for step in steps]
    assert best["checkpoint"].endswith(f"{steps[int(np.argmax(reached))]:08d}.pt")


def test_its_detections_are_what_the_lvis_tools_read(
    trained: Trained, fasa: Fasa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "float", float, raising=False)  # the lvis package still asks for it
    results = tmp_path / "results.json"
    found = figures(fasa, tmp_path, "small", f"--output={results}")
    records: list[Table] = json.loads(results.read_text())
    assert len(records) == found["detections"] > 0
    assert len(LVISResults(str(trained.truth), str(results)).anns) == len(records)
    for kind, reduced in (("bbox", without_masks), ("segm", without_boxes)):
        path = tmp_path / f"{kind}.json"  # the lvis package takes records with a box for boxes
        path.write_text(json.dumps(reduced(records)))
        truth = LVIS(str(trained.truth))
        reference = LVISEval(truth, LVISResults(truth, str(path)), kind)
        reference.run()
        for theirs, ours in (("AP", "AP"), ("AP50", "AP50"), ("APr", "AP_r"), ("APf", "AP_f")):
            value = 100 * reference.get_results()[theirs]
            assert found["metrics"][f"{kind}/{ours}"] == pytest.approx(value, abs=1e-9)
    again = figures(fasa, tmp_path, f"--results={results}", f"--annotations={trained.truth}")
    assert again["metrics"] == pytest.approx(found["metrics"], abs=1e-9)


def test_another_test_set_can_be_named(trained: Trained, fasa: Fasa, tmp_path: Path) -> None:
    content = json.loads(trained.truth.read_text())
    few = {image["id"] for image in content["images"][:4]}
    content["images"] = content["images"][:4]
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in few]
    part = tmp_path / "part.json"
    part.write_text(json.dumps(content))
    named = (f"--annotations={part}", f"--images={trained.images}")
    assert figures(fasa, tmp_path, "small", *named)["images"] == 4
    assert "AP_small" in fasa.says("evaluate", "small", *named, "--data=coco")
    content["categories"][0]["name"] = "walrus"
    part.write_text(json.dumps(content))
    assert "'walrus'" in fasa.refuses("evaluate", "small", *named)


def test_without_a_cap_more_is_found_and_the_usual_figures_stay(
    trained: Trained, fasa: Fasa, tmp_path: Path
) -> None:
    few = ("small", "--detections-per-image=30", "--score-threshold=0.02")
    usual = figures(fasa, tmp_path, *few)
    fixed = figures(fasa, tmp_path, *few, "--fixed")
    assert fixed["detections"] > usual["detections"]
    assert fixed["metrics"]["bbox/AP_fixed"] > usual["metrics"]["bbox/AP"]
    assert "bbox/AP_pool" in fixed["metrics"]
    for name, value in usual["metrics"].items():
        assert fixed["metrics"][name] == pytest.approx(value, abs=1e-9)


def test_what_is_wrong_is_said_in_a_sentence(trained: Trained, fasa: Fasa, tmp_path: Path) -> None:
    truth = f"--annotations={trained.truth}"
    assert "give a run" in fasa.refuses("evaluate")
    assert "give a run" in fasa.refuses("evaluate", "small", f"--results={truth}", truth)
    assert "no run 'nobody'" in fasa.refuses("evaluate", "nobody")
    assert "choose from --epoch 1, --epoch 2" in fasa.refuses("evaluate", "small", "--epoch=9")
    assert "give both" in fasa.refuses("evaluate", "small", truth)
    assert "give a run" in fasa.refuses("evaluate", str(trained.checkpoint), "--best")
    coco = (truth, f"--images={trained.images}", "--data=coco")
    assert "leave it out" in fasa.refuses("evaluate", "small", "--fixed", *coco)
    assert "give --annotations" in fasa.refuses("evaluate", "--results=x.json")
    assert "give --data-folder" in fasa.refuses("evaluate", "small", "--data=lvis")
    folder = f"--data-folder={tmp_path}"
    assert "lacks" in fasa.refuses("evaluate", "small", "--data=lvis", folder)
    assert "give --data" in fasa.refuses("evaluate", "small", folder)
    assert "is gone" in fasa.refuses("evaluate", str(tmp_path / "step-00000001.pt"))
    assert "make it first" in fasa.refuses("evaluate", "small", f"--output={tmp_path}/no/x.json")
    if not torch.cuda.is_available():
        assert "finds no GPU" in fasa.refuses("evaluate", "small", "--device=cuda")
    assert "batch_size" in fasa.refuses("evaluate", "small", "--batch-size=0")


def test_broken_files_are_said_in_a_sentence(trained: Trained, fasa: Fasa, tmp_path: Path) -> None:
    truth = f"--annotations={trained.truth}"
    broken = tmp_path / "broken.json"
    box = '[{"image_id": 1, "bbox": [0, 0, 1, 1]}]'
    for text in ("[", "{}", "3", "[3]", '[{"image_id": 1}]', box):
        broken.write_text(text)
        fasa.refuses("evaluate", f"--results={broken}", truth)
    broken.write_text("[]")
    both = (f"--results={broken}", f"--annotations={broken}")
    fasa.refuses("evaluate", *both)
    cut = tmp_path / trained.checkpoint.name
    cut.write_bytes(trained.checkpoint.read_bytes()[:-1000])
    assert "cannot be read" in fasa.refuses("evaluate", str(cut))


def test_a_copied_checkpoint_needs_the_run_log_of_its_run(
    trained: Trained, fasa: Fasa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "copied.pt"
    shutil.copy(trained.checkpoint, copied)
    assert "boxes" in fasa.says("evaluate", str(copied))
    other = RunsFolder(tmp_path / "other")
    other.root.mkdir()
    queue_small(other)
    refused = Fasa(other.root, capsys).refuses("evaluate", str(copied))
    assert "give --runs FOLDER" in refused
