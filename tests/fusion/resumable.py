"""A small training that keeps a checkpoint each epoch: `python -m tests.fusion.resumable FOLDER`.

Its children are killed again and again: each right before or after the checkpoint of one epoch, then others at any
moment. What is left are trainings that went on each time, and one that nothing interrupted, for comparison.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from features.fusion.augment import add_noise
from features.fusion.configs import TrainingConfig
from features.fusion.optim import build_optimiser, rate_at, set_rate
from features.fusion.resume import TrainingState, load_training, save_state, save_training
from features.fusion.state_tensors import optimiser_tensors, random_tensors, restore_optimiser, restore_random

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = TrainingConfig(epochs=10, batch_size=8, schedule="cosine", warmup_epochs=1.5)
BATCHES = 5
IDENTITY = "tiny/seed 0"


class Training:
    """A training with dropout, augmentation by a generator of its own, a schedule and best weights."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))
        given = [(name, parameter, parameter.ndim > 1) for name, parameter in self.model.named_parameters()]
        self.optimiser = build_optimiser(given, CONFIG)
        self.values = torch.randn(BATCHES * CONFIG.batch_size, 6)
        self.targets = self.values[:, :1] * self.values[:, 1:2]
        self.noise = torch.Generator().manual_seed(1)
        self.num_steps = 0
        self.history: list[tuple[float, ...]] = []
        self.best: dict[str, torch.Tensor] = {}

    def run(self, path: Path | None, on_epoch: Callable[[int, str], None] = lambda *_: None) -> dict[str, torch.Tensor]:
        """Go on from the checkpoint, if there is one, to the end; the last and the best weights."""
        found = load_training(path, IDENTITY) if path else None
        if found:
            self._restore(found[0])
        for epoch in range(len(self.history), CONFIG.epochs):
            self.history.append((epoch, self._epoch()))
            if self._loss_of(epoch) == min(self._loss_of(done) for done in range(epoch + 1)):
                self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
            on_epoch(epoch, "before")
            if path:
                save_training(path, self._state())
            on_epoch(epoch, "after")
        losses = torch.tensor(self.history, dtype=torch.float64)
        return {**self.model.state_dict(), **{f"best.{name}": v for name, v in self.best.items()}, "history": losses}

    def _loss_of(self, epoch: int) -> float:
        return self.history[epoch][1]

    def _epoch(self) -> float:
        total = 0.0
        for rows in torch.randperm(len(self.values)).split(CONFIG.batch_size):
            set_rate(self.optimiser, CONFIG.learning_rate * rate_at(self.num_steps, BATCHES, CONFIG))
            predicted = self.model(add_noise(self.values[rows], 0.1, self.noise))
            loss = torch.square(predicted - self.targets[rows]).mean()
            self.optimiser.zero_grad()
            torch.autograd.backward(loss)
            self.optimiser.step()
            self.num_steps += 1
            total += float(loss.detach())
        return total

    def _state(self) -> TrainingState:
        return TrainingState(
            identity=IDENTITY,
            num_epochs=len(self.history),
            num_steps=self.num_steps,
            best_epoch=min(range(len(self.history)), key=self._loss_of),
            history=tuple(self.history),
            model=self.model.state_dict(),
            best=self.best,
            optimiser=optimiser_tensors(self.optimiser),
            random=random_tensors({"noise": self.noise}),
        )

    def _restore(self, state: TrainingState) -> None:
        self.history, self.num_steps, self.best = list(state.history), state.num_steps, dict(state.best)
        self.model.load_state_dict(dict(state.model))
        restore_optimiser(self.optimiser, state.optimiser)
        restore_random(state.random, {"noise": self.noise})


def kill_when(epoch: int, moment: str) -> Callable[[int, str], None]:
    """End this process by SIGKILL at a moment of an epoch."""

    def on_epoch(now: int, which: str) -> None:
        if (now, which) == (epoch, moment):
            os.kill(os.getpid(), signal.SIGKILL)

    return on_epoch


def train_in_child(path: Path, on_epoch: Callable[[int, str], None], seconds: float | None = None) -> int:
    """Train in a child, which is killed after a time, if one is given; how it ended, as of `os.waitpid`."""
    child = os.fork()
    if not child:
        try:
            Training().run(path, on_epoch)
            os._exit(0)
        finally:
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def main(folder: Path) -> None:
    """Train in both ways."""
    torch.set_num_threads(1)
    save_state(folder / "whole.safetensors", Training().run(None))
    path = folder / "checkpoint.safetensors"
    for epoch in range(CONFIG.epochs - 1):
        for moment in ("before", "after"):
            assert train_in_child(path, kill_when(epoch, moment)) == signal.SIGKILL
    save_state(folder / "resumed.safetensors", Training().run(path))
    path, moments, kills = folder / "at-any-moment.safetensors", random.Random(0), 0
    while status := train_in_child(path, lambda *_: time.sleep(0.002), moments.uniform(0.002, 0.02) * 1.2**kills):
        assert status == signal.SIGKILL
        kills += 1  # each child has longer, so that it ends on a busy machine too
    assert kills
    save_state(folder / "at-any-moment-resumed.safetensors", Training().run(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
