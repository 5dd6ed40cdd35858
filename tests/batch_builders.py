"""A batch as the loader gives it, for tests of the whole detector."""

import torch

from trainer.training_step import Batch


def one_object() -> Batch:
    """One image of noise, 160 x 160, with one square of class 2."""
    torch.manual_seed(3)
    mask = torch.zeros(1, 160, 160, dtype=torch.uint8)
    mask[:, 30:90, 40:100] = 1
    target = {
        "boxes": torch.tensor([[40.0, 30.0, 100.0, 90.0]]),
        "labels": torch.tensor([2]),
        "masks": mask,
        "image_id": torch.tensor(5),
    }
    return [torch.rand(3, 160, 160)], [target]
