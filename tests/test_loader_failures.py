"""What ends a loader ends a run in one sentence, in whichever process it happens."""

from pathlib import Path

import psutil
import pytest
from published_builders import lvis_v1

from data.annotations import AnnotationError
from data.detection import DetectionDataset
from trainer.config import RunConfig
from trainer.training_data import train_loader


@pytest.fixture
def data(tmp_path: Path) -> DetectionDataset:
    folder = lvis_v1(tmp_path / "lvis", images=16)
    return DetectionDataset(folder / "lvis_v1_train.json", folder)


@pytest.mark.slow
def test_a_loader_process_fails_as_this_one_does(data: DetectionDataset) -> None:
    photo = data.images_path / data.table.file_name(3)
    content = photo.read_bytes()
    photo.unlink()  # others are the same file
    photo.write_bytes(content[:-400])
    sentences = []
    for workers in (0, 1):
        config = RunConfig(workers=workers, batch_size=8)
        with pytest.raises(AnnotationError) as failed:
            list(train_loader(config, data, epoch=0))
        sentences.append(str(failed.value))
    assert sentences[0].startswith(f"the image {photo} can't be read (")
    assert sentences[0] == sentences[1]


@pytest.mark.slow
def test_a_lost_loader_process_is_told(data: DetectionDataset) -> None:
    batches = iter(train_loader(RunConfig(workers=1, batch_size=1), data, epoch=0))
    next(batches)
    for child in psutil.Process().children():
        if any("forkserver" in word for word in child.cmdline()):
            for worker in child.children():
                worker.kill()
    with pytest.raises(AnnotationError, match=r"a loader process was lost \(.*\): give it more"):
        list(batches)
