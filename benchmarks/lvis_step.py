"""A training step of LVIS's size, for benchmarks: 1,203 classes, ResNet-50 with feature pyramid.

Images are noise. Each has about as many objects as LVIS's on average, of classes drawn by their
instance counts and with masks of ellipses. The network is random, so its proposals would miss
nearly all objects, and two near ties among their scores would give two models other RoIs; hence
given boxes take the place of its proposals, enough of them near objects for the full share of
positive RoIs, as those of a trained network are.

Shape glossary: C foreground classes, n objects or boxes of one image.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from benchmarks.lvis_shaped import lvis_categories
from trainer.acceleration import accelerate
from trainer.backbones import build_body
from trainer.config import RunConfig, load_config
from trainer.model import FASAMaskRCNN, build_model
from trainer.presets import PRESETS
from trainer.schedule import build_optimizers
from trainer.training_step import Batch, TrainingStep

PRESET = "lvis_v1/mask_rcnn_r50_24e_fasa"
OBJECTS = 13  # an image; LVIS v1's mean is 12.7
_SHARES = (0.05, 0.45)  # sides of an object, of the image's


@dataclass(frozen=True)
class Size:
    """Of a step's input.

    Attributes:
        images: of a batch.
        height: of an image, in pixels.
        width: of an image, in pixels.
    """

    images: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.images} images of {self.height}x{self.width}"


def step_parser(document: str | None) -> argparse.ArgumentParser:
    """What a benchmark of a step is asked on the command line; `document` begins with its claim."""
    parser = argparse.ArgumentParser(description=(document or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=6, help="timed steps of each side")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true", help="keep the result in benchmarks/results")
    return parser


def class_counts() -> list[int]:
    """[C] instances of each class of LVIS v1."""
    return [int(row["instance_count"]) for row in lvis_categories()]


def lvis_config(size: Size, **changes: object) -> RunConfig:
    """The preset of the paper's first row, for images that are not resized."""
    values = {
        **PRESETS[PRESET].values,
        "data": "demo",  # no folder is needed; the data set is made here
        "batch_size": size.images,
        "train_min_sizes": [],
        "image_min_size": min(size.height, size.width),
        "image_max_size": max(size.height, size.width),
        "workers": 0,
    }
    return load_config({**values, **changes})


def build_lvis_model(config: RunConfig, *, device: torch.device) -> FASAMaskRCNN:
    """The model of `config` with random weights, in whose backbone no activation explodes."""
    torch.manual_seed(0)
    body = build_body(config)
    for norm in (m for m in body.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.constant_(norm.weight, 0.5)
        norm.momentum = 1.0  # its statistics become those of one batch of noise
    with torch.no_grad():
        body.train()(torch.randn(2, 3, 128, 128))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.pt"
        torch.save(body.state_dict(), path)
        changed = config.model_copy(update={"backbone_weights": str(path)})
        model = build_model(changed, class_counts=class_counts())
    near = int(config.rois_per_image * config.positive_fraction)
    model.rpn = GivenProposals(model.rpn, near=near, far=config.proposals_train - near)
    return accelerate(model.to(device), config, device=device).train()


def training_step(config: RunConfig, model: FASAMaskRCNN, device: torch.device) -> TrainingStep:
    """The trainer's step of `model`."""
    return TrainingStep(
        model=model,
        optimizers=build_optimizers(config, model, model.classifiers),
        gradient_clip=config.gradient_clip,
        device=device,
        precision=config.precision,
    )


def make_batch(size: Size, *, seed: int) -> Batch:
    """A batch as the loader gives it."""
    generator = torch.Generator().manual_seed(seed)
    images, targets = [], []
    for number in range(size.images):
        images.append(torch.rand(3, size.height, size.width, generator=generator))
        boxes = _boxes(size, OBJECTS, generator)
        drawn = torch.multinomial(
            torch.tensor(class_counts()).double(), OBJECTS, replacement=True, generator=generator
        )
        targets.append(
            {
                "boxes": boxes,
                "labels": drawn,
                "masks": _ellipses(boxes, size),
                "image_id": torch.tensor(1000 * seed + number),
            }
        )
    return images, targets


class GivenProposals(nn.Module):
    """A region proposal network whose proposals in training are others, the same at every call.

    Args:
        rpn: a region proposal network of torchvision's form, which does its whole work.
        near: boxes near objects, an image.
        far: boxes anywhere, an image.
    """

    def __init__(self, rpn: nn.Module, *, near: int, far: int) -> None:
        super().__init__()
        self.rpn = rpn
        self.near = near
        self.far = far

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals [n, 4] of each image and the losses, as from `rpn`."""
        proposals, losses = self.rpn(images, features, targets)
        if targets is not None:
            generator = torch.Generator().manual_seed(0)
            given = [
                [
                    _near(target["boxes"], self.near, generator),
                    _boxes(Size(1, *shape), self.far, generator).to(target["boxes"]),
                ]
                for target, shape in zip(targets, images.image_sizes, strict=True)
            ]
            proposals = [torch.cat(boxes) for boxes in given]
        return proposals, losses


def _near(boxes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """[count, 4] boxes that overlap objects [n, 4] with an IoU above 0.5."""
    own = boxes.detach().cpu().repeat(-(-count // len(boxes)), 1)[:count].float()
    sides = (own[:, 2:] - own[:, :2]).repeat(1, 2)
    moved = own + sides * (torch.rand(own.shape, generator=generator) - 0.5) * 0.2
    assert bool((box_iou(own, moved).diagonal() > 0.5).all())
    return moved.to(boxes)


def _boxes(size: Size, count: int, generator: torch.Generator) -> Tensor:
    """[count, 4] inside the image."""
    whole = torch.tensor([size.width, size.height])
    low, high = _SHARES
    sides = (low + (high - low) * torch.rand(count, 2, generator=generator)) * whole
    corner = torch.rand(count, 2, generator=generator) * (whole - sides)
    return torch.cat([corner, corner + sides], dim=1)


def _ellipses(boxes: Tensor, size: Size) -> Tensor:
    """uint8 [n, H, W]."""
    y = torch.arange(size.height)[None, :, None] + 0.5
    x = torch.arange(size.width)[None, None, :] + 0.5
    x1, y1, x2, y2 = (column[:, None, None] for column in boxes.unbind(1))
    across = (2 * x - x1 - x2) / (x2 - x1)
    down = (2 * y - y1 - y2) / (y2 - y1)
    return (across.square() + down.square() <= 1).to(torch.uint8)
