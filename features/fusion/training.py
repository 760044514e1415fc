"""Training: one loop for every recipe, modality subset and seed, all visible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from features.errors import ModelError
from features.fusion.model import Architecture, FusionModel, architecture_of, build_model, for_prediction, one_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from features.fusion.dataset import Examples
    from features.fusion.recipe import Recipe


class Epoch(NamedTuple):
    """One pass over the training split: mean losses, weighted as in training."""

    epoch: int
    train_loss: float
    dev_loss: float


@dataclass(frozen=True)
class Member:
    """A model trained with one seed: its best weights (float32, on the CPU), their epoch and dev loss, all epochs."""

    seed: int
    state: Mapping[str, Tensor]
    best: Epoch
    history: tuple[Epoch, ...]


@dataclass(frozen=True)
class Trained:
    """Models of one architecture, one a seed; a prediction is the mean of their probabilities.

    Attributes:
        architecture: How to build each.
        members: One a seed.
        classes: Classes in order.
        prior: Share of each class in the training split.
        widths: Numbers in a vector, by feature.
    """

    architecture: Architecture
    members: tuple[Member, ...]
    classes: tuple[str, ...]
    prior: tuple[float, ...]
    widths: Mapping[str, int]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in the model's order."""
        return self.architecture.modalities

    def models(self) -> tuple[FusionModel, ...]:
        """Ready models, in evaluation mode and float64."""
        return for_prediction(self.architecture, [member.state for member in self.members])


class _Batch(NamedTuple):
    """Tensors of n examples: vectors [n, num_values] and masks [n] by modality, targets [n], loss weights [n]."""

    values: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    targets: Tensor
    weights: Tensor

    def take(self, indices: Tensor) -> _Batch:
        return _Batch(
            {name: value[indices] for name, value in self.values.items()},
            {name: mask[indices] for name, mask in self.present.items()},
            self.targets[indices],
            self.weights[indices],
        )


def train(
    recipe: Recipe,
    examples: Examples,
    *,
    modalities: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> Trained:
    """Train a model for each seed: AdamW, class weights, early stopping on the dev split.

    The same recipe, examples and seeds give the same weights, bit by bit, on one machine.

    Args:
        recipe: Encoders, fusion and the loop's numbers.
        examples: Of all splits; the test split is not looked at.
        modalities: Learn from these only; by default from all of the recipe.
        seeds: By default those of the recipe.

    Raises:
        ModelError: The training or dev split is empty, holds one class only, or has no row of a modality.

    Reference:
        Loshchilov & Hutter (2019), arXiv:1711.05101 (AdamW); Prechelt (1998), doi:10.1007/3-540-49430-8_3 (stopping).
    """
    names = tuple(modalities or recipe.modalities)
    check_examples(recipe, examples, names)
    parts = {split: _with_any(examples.of_split(split), names) for split in ("train", "dev")}
    prior = np.bincount(parts["train"].targets, minlength=len(examples.classes)) / len(parts["train"])
    widths = {name: examples.features[name].shape[1] for name in names}
    architecture = architecture_of(recipe, widths, len(examples.classes))
    members = tuple(
        _train_one(recipe, architecture, _batch(parts["train"], names, prior), _batch(parts["dev"], names, prior), seed)
        for seed in (recipe.training.seeds if seeds is None else seeds)
    )
    used = {
        feature.name: examples.inputs.widths[feature.name] for name in names for feature in recipe.features_of(name)
    }
    return Trained(architecture, members, examples.classes, tuple(map(float, prior)), used)


def check_examples(recipe: Recipe, examples: Examples, modalities: Sequence[str]) -> None:
    """Refuse examples that no model can be trained or tested with.

    Raises:
        ModelError: A split is empty, the training split holds one class only, or a modality has no row in one.
    """
    counts = {split: len(examples.of_split(split)) for split in ("train", "dev", "test")}
    empty = [split for split, count in counts.items() if not count]
    if empty:
        message = f"the {' and '.join(empty)} split of {recipe.splits.name!r} has no labelled segment"
        message += f" (rows: {counts}; left out: {dict(examples.left_out) or 'none'});"
        message += " label more media, or run what is missing, then train again"
        raise ModelError(message)
    held = sorted({examples.classes[target] for target in examples.of_split("train").targets})
    if len(held) < 2:
        message = f"the training split holds one class only, {held[0]!r} ({counts['train']} rows);"
        message += f" add labels of another class with: triptych label {recipe.labels} FILE"
        raise ModelError(message)
    for modality in modalities:
        for split in ("train", "dev"):
            if not examples.of_split(split).present[modality].any():
                raise _no_rows(recipe, modality, split)


def _no_rows(recipe: Recipe, modality: str, split: str) -> ModelError:
    keys = ", ".join(feature.name for feature in recipe.features_of(modality))
    message = f"no media in the {split} split has modality {modality!r} (features: {keys}); extract it, or take the"
    message += f" features of {modality} out of recipe {recipe.name!r}"
    if modality == "text" and not recipe.allow_recognised_text:
        message += "; text that only a speech recogniser heard counts with allow_recognised_text = true"
    return ModelError(message)


def _train_one(recipe: Recipe, architecture: Architecture, train: _Batch, dev: _Batch, seed: int) -> Member:
    """Train one model; torch's own random state is left as it was."""
    config = recipe.training
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model = build_model(architecture)
        model.fit_standardisation(train.values, train.present)
        optimiser = torch.optim.AdamW(_decayed(model, config.weight_decay), lr=config.learning_rate, fused=True)
        history: list[Epoch] = []
        best, state = Epoch(-1, float("inf"), float("inf")), _copy(model)
        for epoch in range(config.epochs):
            train_loss = _epoch(model, optimiser, train, config.batch_size, config.modality_dropout)
            history.append(Epoch(epoch, train_loss, _loss_of(model, dev)))
            if history[-1].dev_loss < best.dev_loss:
                best, state = history[-1], _copy(model)
            elif epoch - best.epoch >= config.patience:
                break
    return Member(seed, state, best, tuple(history))


def _epoch(
    model: FusionModel, optimiser: torch.optim.Optimizer, train: _Batch, batch_size: int, modality_dropout: float
) -> float:
    """One pass over the training split in a new random order; the mean loss."""
    model.train()
    total = weight = 0.0
    order = torch.randperm(len(train.targets))
    for start in range(0, len(order), batch_size):
        batch = train.take(order[start : start + batch_size])
        present = _hide(batch.present, modality_dropout)
        loss = _loss(model(batch.values, present), batch)  # logits [batch, num_classes]
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        total += float(loss.detach() * batch.weights.sum())
        weight += float(batch.weights.sum())
    return total / max(weight, 1e-12)


def _hide(present: Mapping[str, Tensor], chance: float) -> dict[str, Tensor]:
    """Hide present modalities at random; an example that would lose all keeps them all.

    Reference:
        Neverova et al. (2016), doi:10.1109/TPAMI.2015.2461544 (ModDrop).
    """
    mask = torch.stack(list(present.values()))  # [num_modalities, batch]
    kept = mask & (torch.rand(mask.shape) >= chance)
    kept = torch.where(kept.any(dim=0), kept, mask)
    return dict(zip(present, kept, strict=True))


def _loss(logits: Tensor, batch: _Batch) -> Tensor:
    """Cross-entropy, weighted by class and label: logits [batch, num_classes] to a scalar."""
    losses = functional.cross_entropy(logits, batch.targets, reduction="none")
    return (losses * batch.weights).sum() / batch.weights.sum().clamp(min=1e-12)


def _loss_of(model: FusionModel, batch: _Batch) -> float:
    model.eval()
    with torch.no_grad():
        return float(_loss(model(batch.values, batch.present), batch))


def _with_any(examples: Examples, names: Sequence[str]) -> Examples:
    """The examples that have any of these modalities."""
    return examples.take(np.flatnonzero(examples.inputs.only(tuple(names)).any_present()))


def _batch(examples: Examples, names: Sequence[str], prior: np.ndarray) -> _Batch:
    balance = 1 / np.maximum(prior * len(prior), 1e-12)  # each class weighs the same in all
    weights = examples.weights * balance[examples.targets] * (prior[examples.targets] > 0)
    return _Batch(
        {name: torch.from_numpy(examples.features[name]) for name in names},
        {name: torch.from_numpy(examples.present[name]) for name in names},
        torch.from_numpy(examples.targets),
        torch.from_numpy(np.asarray(weights, np.float32)),
    )


def _decayed(model: FusionModel, weight_decay: float) -> list[dict[str, object]]:
    """Parameters for AdamW: only matrices decay, never biases, normalisation or the vectors of absence."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _copy(model: FusionModel) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
