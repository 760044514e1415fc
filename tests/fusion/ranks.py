"""What the processes of `test_distributed` do: each of them imports it. As a program it waits for ever in two."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import ConsentError
from features.fusion.configs import TrainingConfig
from features.fusion.distributed import average_gradients, gather, run_processes, shard, sum_gradients, sum_over_ranks
from features.fusion.losses import TaskWeights, labelled_weight, task_loss
from features.fusion.optim import build_optimiser

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from features.fusion.distributed import Rank

BATCHES = (7, 8, 5, 1, 3)
"""Rows of each batch; of the fourth, a process of two has none."""

KINDS = {"mood": "class", "age": "regression"}


class Model(nn.Module):
    """Two heads on a trunk, and a layer that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
        self.heads = nn.ModuleDict({"mood": nn.Linear(8, 3), "age": nn.Linear(8, 1)})
        self.unused = nn.Linear(2, 2)

    def forward(self, values: Tensor) -> dict[str, Tensor]:
        """Logits by task."""
        return {task: head(self.trunk(values)) for task, head in self.heads.items()}


def train(rank: Rank, values: Tensor, mood: Tensor, age: Tensor, weights: Tensor, how: str) -> dict[str, Tensor]:
    """A step on each batch, `mean` with one task, or `sum` with two of which some batches label none."""
    torch.manual_seed(0)
    model, targets = Model(), {"mood": mood, "age": age}
    task_weights = TaskWeights(KINDS, dict.fromkeys(KINDS, 1.0), learned=True)
    named = [*model.named_parameters(), *task_weights.named_parameters()]
    config = TrainingConfig(learning_rate=0.01)
    optimiser = build_optimiser([(name, parameter, parameter.ndim > 1) for name, parameter in named], config)
    for batch in torch.arange(len(values)).split(list(BATCHES)):
        rows = shard(batch, rank.rank, rank.num_ranks)
        optimiser.zero_grad()
        logits = model(values[rows])
        if how == "mean":
            weight = labelled_weight("class", mood[rows], weights[rows])
            if len(rows):
                torch.autograd.backward(task_loss("class", logits["mood"], mood[rows], weights[rows]))
            average_gradients(model, weight)
        else:
            whole = {task: labelled_weight(kind, targets[task][batch], weights[batch]) for task, kind in KINDS.items()}
            losses = {
                task: task_loss(kind, logits[task], targets[task][rows], weights[rows])
                * (labelled_weight(kind, targets[task][rows], weights[rows]) / max(whole[task], 1e-12))
                for task, kind in KINDS.items()
            }
            labelled = {task: int(weight > 0) for task, weight in whole.items()}
            torch.autograd.backward(task_weights.combine(losses, labelled, share=1 / rank.num_ranks))
            sum_gradients([model, task_weights])
        optimiser.step()
    return {**model.state_dict(), **task_weights.state_dict()}


def train_and_tell(rank: Rank, *given: Tensor) -> dict[str, Tensor]:
    """Train in both ways, then exchange some numbers."""
    trained = {f"{how}.{name}": value for how in ("mean", "sum") for name, value in train(rank, *given, how).items()}
    own = torch.tensor([rank.rank + 1, 10], dtype=torch.uint8)
    return {
        **trained,
        "total": sum_over_ranks(torch.tensor(0.25 + rank.rank, dtype=torch.float64)),
        "all": torch.stack(gather(own)),
        "threads": torch.tensor(torch.get_num_threads()),
    }


def sum_up(rank: Rank, array: NDArray[np.float32], part: NDArray[np.float32]) -> dict[str, Tensor]:
    """Write three into the first number, and tell what all come to; whether it is a mapped file."""
    assert isinstance(array, np.memmap)
    assert not isinstance(part, np.memmap)
    array[0, 0] += 3
    return {"whole": torch.tensor(array.sum()), "part": torch.tensor(part.sum())}


def refuse(rank: Rank) -> dict[str, Tensor]:
    """The second process refuses, while the first waits for it."""
    if rank.rank == 1:
        message = "no consent for media 'abc'; ask for it"
        raise ConsentError(message)
    return {"total": sum_over_ranks(torch.ones(1))}


def fail(rank: Rank) -> dict[str, Tensor]:
    """The first process meets an error that nobody foresaw, while the second computes for ever."""
    while rank.rank == 1:
        time.sleep(1)
    return {"a": torch.zeros(2)[5]}


def be_killed(rank: Rank) -> dict[str, Tensor]:
    """The first process is killed, while the second waits for it."""
    if rank.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"total": sum_over_ranks(torch.ones(1))}


def wait(rank: Rank, folder: Path) -> dict[str, Tensor]:
    """Say who it is, and wait for ever."""
    written = folder / f"{rank.rank}.part"
    written.write_text(str(os.getpid()))
    written.rename(folder / f"{rank.rank}.pid")
    while True:
        time.sleep(1)


if __name__ == "__main__":
    from tests.fusion import ranks

    run_processes(ranks.wait, 2, Path(sys.argv[1]))
