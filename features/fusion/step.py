"""One step of training: hide, augment, predict, weigh the losses, move the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from features.fusion.augment import add_noise, augment_raw, mask_steps, mix, mixup_weights
from features.fusion.contrastive import contrastive_loss
from features.fusion.distributed import sum_gradients
from features.fusion.losses import TaskWeights, blend, labelled_weight, task_loss
from features.fusion.model import decayed
from features.fusion.optim import build_optimiser, clip, rate_at, set_rate
from features.fusion.recipe import RAW_INPUTS
from features.fusion.subsets import hide, smaller_sets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from features.fusion.augment import Mixing
    from features.fusion.encoded import Encoded
    from features.fusion.examples import TaskTargets
    from features.fusion.loop import Plan
    from features.fusion.model import FusionModel, ModelInputs
    from features.fusion.recipe import Recipe

_RAW_SHAPES = frozenset(RAW_INPUTS.values())


class Answers(NamedTuple):
    """What a batch of n segments should say of one task: targets as of `task_loss`, and loss weights, float [n]."""

    targets: Tensor
    weights: Tensor


class Labels:
    """Targets of all segments as tensors, with loss weights: the labels' own, times the class's where asked."""

    def __init__(self, plan: Plan, train: Mapping[str, TaskTargets], device: torch.device) -> None:
        balanced = plan.recipe.training.class_weights
        found = {task: _answers(held, train[task], balanced=balanced) for task, held in plan.tasks.items()}
        self._answers = {task: Answers(a.targets.to(device), a.weights.to(device)) for task, a in found.items()}

    def of(self, rows: NDArray[np.int64]) -> dict[str, Answers]:
        """Of the segments at these places, by task."""
        places = torch.from_numpy(rows)
        return {task: Answers(held.targets[places], held.weights[places]) for task, held in self._answers.items()}


class Part(NamedTuple):
    """What a process must know of the batch that it has a part of.

    Attributes:
        totals: Loss weight of the whole batch, by task.
        share: One over the number of processes, for the terms of the loss that are no mean over labelled rows.
    """

    totals: Mapping[str, float]
    share: float


class _Given(NamedTuple):
    """What the losses of a batch are taken by: answers, mixing, and the loss weight of the whole batch by task."""

    answers: Mapping[str, Answers]
    mixing: Mixing | None
    whole: Mapping[str, float]


class Stepper:
    """The optimiser and all that stands between a batch and a step of it."""

    def __init__(self, recipe: Recipe, model: FusionModel, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.model = model
        self.num_steps = 0
        self._steps_per_epoch = steps_per_epoch
        kinds = {task.name: task.kind for task in model.architecture.tasks}
        fixed = {task.name: task.weight if len(kinds) > 1 else 1.0 for task in recipe.tasks if task.name in kinds}
        self.task_weights = TaskWeights(kinds, fixed, learned=recipe.training.loss_weights == "uncertainty")
        self.task_weights.to(next(model.parameters()).device)
        self._rate = recipe.training.learning_rate
        own = [(name, parameter, False) for name, parameter in self.task_weights.named_parameters()]
        self.optimiser = build_optimiser([*decayed(model), *own], recipe.training)

    def step(self, batch: ModelInputs, answers: Mapping[str, Answers], part: Part | None = None) -> float:
        """Move the weights once.

        Args:
            batch: The inputs, or this process's part of them, which may be empty.
            answers: Their targets.
            part: What is to be known of the whole batch, where processes share it: their gradients are added up.

        Returns:
            The loss: this process's part of it.
        """
        factor = rate_at(self.num_steps, self._steps_per_epoch, self.recipe.training)
        set_rate(self.optimiser, self._rate * factor)
        self.optimiser.zero_grad()
        loss = self._loss(batch, answers, part) if len(batch.media) else self._of_nothing(part)
        if loss.requires_grad:
            torch.autograd.backward(loss)
        result = float(loss.detach())
        if part is not None:
            sum_gradients([self.model, self.task_weights])
        if self.recipe.training.clip_norm:
            clip(self.model.parameters(), self.recipe.training.clip_norm)
        self.optimiser.step()
        self.num_steps += 1
        return result

    def weights_of(self, answers: Mapping[str, Answers]) -> dict[str, float]:
        """Loss weight of a batch by task: of the rows that it labels."""
        kinds = {task.name: task.kind for task in self.model.architecture.tasks}
        return {task: labelled_weight(kinds[task], *held) for task, held in answers.items()}

    def losses(
        self, logits: Mapping[str, Tensor], answers: Mapping[str, Answers], smoothing: float = 0.0
    ) -> dict[str, tuple[Tensor, float]]:
        """Loss and loss weight of each task: the mean over the rows that it labels."""
        result = {}
        for task in self.model.architecture.tasks:
            targets, weights = answers[task.name]
            if task.kind == "regression":
                mean, std = self.model.target_scale(task.name)
                targets = (targets - mean) / std
            loss = task_loss(task.kind, logits[task.name], targets, weights, smoothing)
            result[task.name] = loss, labelled_weight(task.kind, targets, weights)
        return result

    def weight_of(self, task: str) -> float:
        """Fixed weight of a task's loss, which the dev loss is weighted by too."""
        return self.task_weights.fixed[task]

    def _of_nothing(self, part: Part | None) -> Tensor:
        """The loss of an empty part: what no row has part in."""
        nothing = torch.zeros((), device=next(self.model.parameters()).device)
        whole = part.totals if part else {}
        counted = {task: int(weight > 0) for task, weight in whole.items()}
        return self.task_weights.combine(dict.fromkeys(counted, nothing), counted, part.share if part else 1.0)

    def _loss(self, batch: ModelInputs, answers: Mapping[str, Answers], part: Part | None) -> Tensor:
        batch = batch._replace(present=hide(batch.present, self.recipe.training.modality_dropout))
        batch, mixing = self._mixed(self._augmented(batch))
        with self._autocast():
            encoded = self.model.encode(batch)
        losses = self.mixed_losses(self._decide(encoded, batch), answers, mixing)
        whole = part.totals if part else {task: weight for task, (_, weight) in losses.items()}
        share = part.share if part else 1.0
        given = _Given(answers, mixing, whole)
        terms = _shares(losses, whole)
        if self.recipe.training.subset_loss:
            smaller = self._smaller_losses(encoded, batch, given)
            terms = {task: own + self.recipe.training.subset_loss * smaller[task] for task, own in terms.items()}
        loss = self.task_weights.combine(terms, {task: int(weight > 0) for task, weight in whole.items()}, share)
        if self.recipe.fusion.contrastive:
            aligned = contrastive_loss(encoded, batch.present, self.recipe.fusion.temperature)
            loss = loss + share * self.recipe.fusion.contrastive * aligned
        if self.model.is_late:
            loss = loss + self._own_losses(encoded, batch, given)
        return loss

    def _autocast(self) -> torch.autocast:
        """Encoders and decisions in bfloat16, where that is faster."""
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=device == "cuda")

    def _decide(self, encoded: Mapping[str, Encoded], batch: ModelInputs) -> dict[str, Tensor]:
        with self._autocast():
            return {task: logits.float() for task, logits in self.model.decide(encoded, batch).items()}

    def mixed_losses(
        self, logits: Mapping[str, Tensor], answers: Mapping[str, Answers], mixing: Mixing | None
    ) -> dict[str, tuple[Tensor, float]]:
        """Loss and loss weight of each task, of mixed examples with the targets of both."""
        smoothing = self.recipe.training.label_smoothing
        if mixing is None:
            return self.losses(logits, answers, smoothing)
        own = {task: Answers(held.targets, mixing.own(held.weights)) for task, held in answers.items()}
        partners = {
            task: Answers(held.targets[mixing.permutation], mixing.partner(held.weights))
            for task, held in answers.items()
        }
        both = self.losses(logits, own, smoothing), self.losses(logits, partners, smoothing)
        return {task: blend(both[0][task], both[1][task]) for task in logits}

    def _mixed(self, batch: ModelInputs) -> tuple[ModelInputs, Mixing | None]:
        alpha = self.recipe.augmentation.mixup
        floats = [name for name, values in batch.values.items() if values.is_floating_point()]
        if not alpha or not floats:
            return batch, None
        mixing = mixup_weights([batch.present[name] for name in floats], alpha)
        values = {
            name: mix(values, *mixing, batch.present[name], batch.lengths.get(name))
            for name, values in batch.values.items()
        }
        return batch._replace(values=values), mixing

    def _smaller_losses(self, encoded: Mapping[str, Encoded], batch: ModelInputs, given: _Given) -> dict[str, Tensor]:
        """The loss of each task with fewer modalities, the mean over the sets: encoded once, decided for each set.

        A row counts in the sets that are smaller than what it has.
        """
        sets = smaller_sets(batch.present)  # none of one modality
        sums = {task: torch.zeros((), device=batch.media.device) for task in given.answers}
        for present, is_smaller in sets:
            logits = self._decide(encoded, batch._replace(present=present))
            own = self._shares_of(logits, is_smaller, given)
            sums = {task: total + own[task] / len(sets) for task, total in sums.items()}
        return sums

    def _own_losses(self, encoded: Mapping[str, Encoded], batch: ModelInputs, given: _Given) -> Tensor:
        """Late fusion: what each modality says alone counts too, or the votes of one would starve the others.

        Each counts by how often it is there.
        """
        with self._autocast():
            own = self.model.own_logits(encoded, batch)
        parts = []
        for modality, present in batch.present.items():
            found = self._shares_of({task: logits[modality].float() for task, logits in own.items()}, present, given)
            parts += [self.weight_of(task) * loss for task, loss in found.items()]
        return torch.stack(parts).sum()

    def _shares_of(self, logits: Mapping[str, Tensor], counted: Tensor, given: _Given) -> dict[str, Tensor]:
        """Losses of the rows that count, bool [batch]: their sum, over the loss weight of the whole batch."""
        held = {task: Answers(a.targets, a.weights * counted) for task, a in given.answers.items()}
        return _shares(self.mixed_losses(logits, held, given.mixing), given.whole)

    def _augmented(self, batch: ModelInputs) -> ModelInputs:
        config = self.recipe.augmentation
        values = dict(batch.values)
        for name, encoder in self.model.encoders.items():
            shape = tuple(values[name].shape[1:])
            if shape in _RAW_SHAPES and name not in batch.lengths:
                values[name] = augment_raw(config, shape, values[name])
            elif encoder.standardise is not None:
                mean, std = cast("Tensor", encoder.standardise.mean), cast("Tensor", encoder.standardise.std)
                if config.noise:
                    values[name] = add_noise(values[name], config.noise * std)
                if name in batch.lengths:
                    values[name] = mask_steps(values[name], batch.lengths[name], config.time_mask, fill=mean)
        return batch._replace(values=values)


def _shares(losses: Mapping[str, tuple[Tensor, float]], whole: Mapping[str, float]) -> dict[str, Tensor]:
    """What the mean losses of some rows, of these weights, are of the mean over the whole batch."""
    return {task: loss * (weight / max(whole[task], 1e-12)) for task, (loss, weight) in losses.items()}


def _answers(held: TaskTargets, train: TaskTargets, *, balanced: bool) -> Answers:
    weights = np.asarray(held.weights, np.float32)
    if held.kind in ("class", "binary"):
        known = held.known
        if balanced:
            prior = np.asarray(train.prior())
            balance = np.where(prior > 0, 1 / np.maximum(prior * len(prior), 1e-12), 0)  # each class weighs the same
            weights = np.where(known, weights * balance[held.values], 0).astype(np.float32)
        weights = np.where(known, weights, 0).astype(np.float32)
    return Answers(torch.from_numpy(held.values), torch.from_numpy(weights))
