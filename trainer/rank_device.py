"""Where a rank trains: its GPU or share of the processor, and where its random numbers begin."""

from __future__ import annotations

import numpy as np
import torch

from trainer.config import ConfigError, RunConfig
from trainer.distributed import Ranks


def use_device(config: RunConfig, ranks: Ranks) -> torch.device:
    """The device that `config` names for this rank; torch uses it and its processor threads.

    On a GPU every rank of a machine has its own; the processor is shared out evenly.

    Raises:
        ConfigError: there is no GPU, or there are fewer than ranks.
    """
    if config.threads or ranks.local_world > 1:
        threads = config.threads or torch.get_num_threads()
        torch.set_num_threads(max(1, threads // ranks.local_world))
    found = torch.cuda.device_count()
    if config.device == "cpu" or (config.device == "auto" and not found):
        return torch.device("cpu")
    if not found:
        raise ConfigError("device is cuda, but torch finds no GPU here: use --device auto or cpu")
    if found < ranks.local_world:
        raise ConfigError(
            f"{ranks.local_world} processes on this machine need a GPU each, but torch finds "
            f"{found}: give --processes {found}, or --device cpu"
        )
    device = torch.device("cuda", ranks.local_rank)
    torch.cuda.set_device(device)
    return device


def seed_rank(seed: int, ranks: Ranks) -> None:
    """Give every rank but the first numbers of its own; torch's samplers draw from them."""
    if not ranks.is_first:
        entropy = np.random.SeedSequence((seed, ranks.rank)).generate_state(1, np.uint64)
        torch.manual_seed(int(entropy[0]))
