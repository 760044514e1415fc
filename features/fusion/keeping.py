"""Keeping a training: its checkpoint after an epoch, and going on from it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from features.fusion.resume import TrainingState, load_training, save_training
from features.fusion.state_tensors import (
    joined,
    optimiser_tensors,
    part_of,
    random_tensors,
    restore_optimiser,
    restore_random,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.fusion.loop import Fit


class Keeper:
    """The checkpoints of one model with one seed; nothing is kept where there is no folder.

    Args:
        folder: That of this very training: recipe, tables, splits and code are in its name.
        name: Of the model.
        seed: Its seed.
        every_seconds: Least time between two checkpoints; the last epoch is always kept.
        on_problem: Told why the newest checkpoint was not used.
    """

    def __init__(
        self,
        folder: Path | None,
        name: str,
        seed: int,
        every_seconds: float,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        self._path = folder / f"{re.sub('[^a-z0-9_+]+', '-', name.lower())}-{seed}.safetensors" if folder else None
        self._identity = f"{name}, seed {seed}"
        self._every_seconds = every_seconds
        self._on_problem = on_problem
        self._kept = float("-inf")

    def restore(self, fit: Fit) -> None:
        """Bring a training that has just begun to where its last checkpoint stands.

        Raises:
            ModelError: There are checkpoints, and none is whole.
        """
        from features.fusion.loop import Epoch

        found = load_training(self._path, self._identity) if self._path else None
        if found is None:
            return
        state, problem = found
        if problem and self._on_problem:
            self._on_problem(f"{problem}; went on from the checkpoint before it")
        fit.model.load_state_dict(part_of(state.model, "model"))
        fit.stepper.task_weights.load_state_dict(part_of(state.model, "tasks"))
        fit.stepper.num_steps = state.num_steps
        fit.history = [Epoch(int(epoch), train, dev) for epoch, train, dev in state.history]
        if state.best_epoch >= 0:
            fit.best, fit.state = fit.history[state.best_epoch], dict(state.best)
        restore_optimiser(fit.stepper.optimiser, state.optimiser)
        restore_random(state.random)

    def keep(self, fit: Fit) -> None:
        """Write a checkpoint, where the last one is old enough or the training is done.

        Raises:
            ModelError: It cannot be written; the last good one stays.
        """
        now = time.monotonic()
        if self._path is None or (now - self._kept < self._every_seconds and not fit.is_done()):
            return
        weights = {"model": fit.model.state_dict(), "tasks": fit.stepper.task_weights.state_dict()}
        state = TrainingState(
            identity=self._identity,
            num_epochs=len(fit.history),
            num_steps=fit.stepper.num_steps,
            best_epoch=fit.best.epoch,
            history=tuple((float(epoch.epoch), epoch.train_loss, epoch.dev_loss) for epoch in fit.history),
            model=joined(weights),
            best=fit.state if fit.best.epoch >= 0 else {},
            optimiser=optimiser_tensors(fit.stepper.optimiser),
            random=random_tensors(),
        )
        save_training(self._path, state)
        self._kept = time.monotonic()
