"""The loop that trains one model with one seed: batches, loss, step, dev loss, checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from features.extractors.device import pick_device
from features.fusion.distributed import Rank, run_processes, shard, sum_over_ranks
from features.fusion.keeping import Keeper
from features.fusion.model import FusionModel, ModelInputs, tensors_of
from features.fusion.prediction import one_thread
from features.fusion.state_tensors import joined, part_of
from features.fusion.step import Labels, Part, Stepper
from features.fusion.telling import heard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from features.fusion.examples import Inputs, Place, TaskTargets
    from features.fusion.model import Architecture
    from features.fusion.normalise import Scale
    from features.fusion.recipe import Recipe
    from features.fusion.telling import EpochWriter
    from features.fusion.training import TrainingRun

_DEV_ROWS = 2048


class Epoch(NamedTuple):
    """One pass over the training split: mean losses, weighted as in training."""

    epoch: int
    train_loss: float
    dev_loss: float


@dataclass(frozen=True)
class Member:
    """A model trained with one seed.

    Attributes:
        seed: Its seed.
        state: The weights that are kept, float32, on the CPU.
        best: Epoch of these weights.
        history: All epochs.
    """

    seed: int
    state: Mapping[str, Tensor]
    best: Epoch
    history: tuple[Epoch, ...]


class Plan(NamedTuple):
    """What a model is trained by.

    Attributes:
        recipe: The loop's numbers.
        architecture: The model.
        inputs: Arrays of all segments, of the model's modalities.
        place: Where they stand.
        tasks: Targets of all segments by task.
        train_rows: Places of the training split.
        dev_rows: Places of the dev split.
        scales: Mean and deviation of the training split by modality.
    """

    recipe: Recipe
    architecture: Architecture
    inputs: Inputs
    place: Place
    tasks: Mapping[str, TaskTargets]
    train_rows: NDArray[np.int64]
    dev_rows: NDArray[np.int64]
    scales: Mapping[str, Scale]

    def batch(self, rows: NDArray[np.int64], device: torch.device) -> ModelInputs:
        """Tensors of the segments at these places, on a device; from pinned memory where that is a GPU."""
        media, order = torch.from_numpy(self.place.media[rows]), torch.from_numpy(self.place.order[rows])
        return tensors_of(self.inputs.take(rows), media, order).to(device)


def fit_member(plan: Plan, seed: int, name: str, run: TrainingRun) -> Member:
    """Train one model, in one process or in several that share each batch; torch's own random state stays as it was.

    Several processes give what one gives, but for the order of sums and, with dropout, augmentation or a contrastive
    loss, for what is drawn and compared within each part of a batch.

    Args:
        plan: What it is trained by.
        seed: Of its first weights, the order of examples, dropout and augmentation.
        name: Of the model, for its checkpoint.
        run: Checkpoints, processes, whom to tell.

    Raises:
        ModelError: A checkpoint cannot be read or written, or a process ended.
    """
    if run.num_processes > 1:
        return _fit_in_processes(plan, seed, name, run)
    device = torch.device(pick_device(run.device))
    with torch.random.fork_rng(), one_thread():
        return Fit(plan, seed, name, run, Rank(0, 1, device)).run()


def _fit_in_processes(plan: Plan, seed: int, name: str, run: TrainingRun) -> Member:
    """Train in several processes; the first one's epochs are told here as they end."""

    def tell(epoch: int, train_loss: float, dev_loss: float) -> None:
        if run.on_epoch is not None:
            run.on_epoch(name, seed, Epoch(epoch, train_loss, dev_loss))

    quiet = run._replace(on_epoch=None, on_problem=None)  # they cannot be sent to other processes
    with heard(tell) as writer:
        found = run_processes(_fit_rank, run.num_processes, plan, seed, name, quiet, writer)[0]
    return _member_of(seed, found)


def _fit_rank(rank: Rank, plan: Plan, seed: int, name: str, run: TrainingRun, writer: EpochWriter) -> dict[str, Tensor]:
    """What one of several processes does; the member as tensors."""
    if not rank.rank:
        run = run._replace(on_epoch=lambda _name, _seed, epoch: writer.tell(*epoch))
    member = Fit(plan, seed, name, run, rank).run()
    figures = torch.tensor([*member.history, member.best], dtype=torch.float64)
    return joined({"state": member.state, "figures": {"all": figures}})


def _member_of(seed: int, tensors: Mapping[str, Tensor]) -> Member:
    *history, best = (Epoch(int(n), train, dev) for n, train, dev in part_of(tensors, "figures")["all"].tolist())
    return Member(seed, part_of(tensors, "state"), best, tuple(history))


class Fit:
    """A model in training, and all that moves with it."""

    def __init__(self, plan: Plan, seed: int, name: str, run: TrainingRun, rank: Rank) -> None:
        torch.manual_seed(seed)
        self.plan = plan
        self.seed = seed
        self.name = name
        self.config = plan.recipe.training
        self.rank = rank
        self.model = FusionModel(plan.architecture)
        targets = {task: held.take(plan.train_rows) for task, held in plan.tasks.items()}
        self.model.fit(plan.scales, targets)
        self.model.to(rank.device)
        self.labels = Labels(plan, targets, rank.device)
        self.stepper = Stepper(plan.recipe, self.model, self.steps_per_epoch)
        self.history: list[Epoch] = []
        self.best = Epoch(-1, math.inf, math.inf)
        self.state = _copy(self.model)
        self._run = run
        self._keeper = Keeper(run.folder, name, seed, run.checkpoint_seconds, None if rank.rank else run.on_problem)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch: with context about so many."""
        return max(1, math.ceil(len(self.plan.train_rows) / self.config.batch_size))

    def run(self) -> Member:
        """Train to the end, from the last checkpoint where there is one."""
        self._keeper.restore(self)
        for epoch in self.history:
            self._tell(epoch)
        while not self.is_done():
            epoch = Epoch(len(self.history), self.epoch(), self._dev_loss())
            self.history.append(epoch)
            if not self.config.early_stopping or epoch.dev_loss < self.best.dev_loss:
                self.best, self.state = epoch, _copy(self.model)
            if not self.rank.rank:
                self._keeper.keep(self)
            self._tell(epoch)
        return Member(self.seed, self.state, self.best, tuple(self.history))

    def is_done(self) -> bool:
        """Whether all epochs are over, or none of the last was better."""
        count = len(self.history)
        stopped = self.config.early_stopping and count - 1 - self.best.epoch >= self.config.patience
        return count >= self.config.epochs or (bool(count) and stopped)

    def _tell(self, epoch: Epoch) -> None:
        if self._run.on_epoch is not None:
            self._run.on_epoch(self.name, self.seed, epoch)

    def epoch(self) -> float:
        """One pass over the training split in a new random order; the mean loss.

        What is drawn depends on the seed, the epoch and the process alone: a training that goes on draws the same.
        """
        number = len(self.history)
        torch.manual_seed(_seed_of(self.seed, number, self.rank.rank))
        self.model.train()
        total = torch.zeros((), dtype=torch.float64)
        count = 0
        for rows in self._batches(torch.Generator().manual_seed(_seed_of(self.seed, number, -1))):
            total += self._step(rows) * len(rows)
            count += len(rows)
        return float(sum_over_ranks(total)) / max(count, 1)

    def _step(self, rows: NDArray[np.int64]) -> float:
        """Learn from a batch, or from this process's part of it; the loss, or its part."""
        if self.rank.num_ranks == 1:
            return self.stepper.step(self.plan.batch(rows, self.rank.device), self.labels.of(rows))
        groups = torch.from_numpy(self.plan.place.media[rows]) if self._has_context else None
        own = shard(torch.from_numpy(rows), self.rank.rank, self.rank.num_ranks, groups).numpy()
        part = Part(self.stepper.weights_of(self.labels.of(rows)), 1 / self.rank.num_ranks)
        return self.stepper.step(self.plan.batch(own, self.rank.device), self.labels.of(own), part)

    @property
    def _has_context(self) -> bool:
        return self.plan.architecture.context.kind != "none"

    def _batches(self, generator: torch.Generator) -> Iterator[NDArray[np.int64]]:
        """Places of the training split in a new order; with context whole media, at least `batch_size` rows."""
        rows, size = self.plan.train_rows, self.config.batch_size
        if not self._has_context:
            order = torch.randperm(len(rows), generator=generator).numpy()
            for start in range(0, len(rows), size):
                yield rows[order[start : start + size]]
            return
        _, code = np.unique(self.plan.place.media[rows], return_inverse=True)
        by_media = np.split(rows[np.argsort(code, kind="stable")], np.cumsum(np.bincount(code))[:-1])
        waiting: list[NDArray[np.int64]] = []
        for media in torch.randperm(len(by_media), generator=generator).tolist():
            waiting.append(by_media[media])
            if sum(map(len, waiting)) >= size:
                yield np.concatenate(waiting)
                waiting = []
        if waiting:
            yield np.concatenate(waiting)

    def _dev_loss(self) -> float:
        """Mean loss on the dev split, a media's segments together where there is context; the same in all processes.

        Pieces are dealt to the processes, which add up what they find.
        """
        self.model.eval()
        rows = self.plan.dev_rows
        share = math.ceil(len(rows) / self.rank.num_ranks)
        step = max(1, len(rows) if self._has_context else min(_DEV_ROWS, share))
        tasks = list(self.plan.tasks)
        total = torch.zeros(len(tasks), 2, dtype=torch.float64)  # loss times weight, and weight
        with torch.no_grad():
            for start in range(step * self.rank.rank, len(rows), step * self.rank.num_ranks):
                piece = rows[start : start + step]
                logits = self.model(self.plan.batch(piece, self.rank.device))
                for task, (loss, weight) in self.stepper.losses(logits, self.labels.of(piece)).items():
                    total[tasks.index(task)] += torch.tensor([float(loss) * weight, weight], dtype=torch.float64)
        found = zip(tasks, sum_over_ranks(total).tolist(), strict=True)
        return float(sum(self.stepper.weight_of(task) * loss / weight for task, (loss, weight) in found if weight))


def _seed_of(seed: int, epoch: int, rank: int) -> int:
    """A seed of its own for each epoch and process; -1 is the order of examples, which all share."""
    return int(np.random.SeedSequence([seed, epoch, rank + 1]).generate_state(1, np.uint64)[0] >> 1)


def _copy(model: FusionModel) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
