"""What the processes of `test_telling` do: each of them imports it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from features.fusion.distributed import Rank
    from features.fusion.telling import EpochWriter

NUM_EPOCHS = 3


def tell_and_wait(rank: Rank, writer: EpochWriter, folder: str) -> dict[str, torch.Tensor]:
    """The first process tells an epoch, and goes on only when it was heard."""
    for epoch in range(NUM_EPOCHS if not rank.rank else 0):
        writer.tell(epoch, float("inf") if not epoch else 1 / epoch, -0.5)
        while not (Path(folder) / str(epoch)).exists():
            time.sleep(0.005)
    return {}


def tell_much(rank: Rank, writer: EpochWriter) -> dict[str, torch.Tensor]:
    """More than a pipe holds."""
    for epoch in range(20_000 if not rank.rank else 0):
        writer.tell(epoch, 0.0, 0.0)
    return {}


def tell_and_fail(rank: Rank, writer: EpochWriter) -> dict[str, torch.Tensor]:
    """The first process fails after an epoch."""
    writer.tell(rank.rank, 0.0, 0.0)
    message = "enough"
    raise ValueError(message)
