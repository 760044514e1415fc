"""Training: one loop for every recipe, subset of modalities and seed, all visible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from features.errors import ModelError
from features.fusion.loop import Member, Plan, fit_member
from features.fusion.model import Architecture, FusionModel, architecture_of, for_prediction
from features.fusion.normalise import scales_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from features.fusion.examples import Examples
    from features.fusion.loop import Epoch
    from features.fusion.normalise import Scale
    from features.fusion.recipe import Recipe


class OnEpoch(Protocol):
    """Told after each epoch."""

    def __call__(self, name: str, seed: int, epoch: Epoch, /) -> None:
        """Take the name of the model, the seed, and the epoch's figures."""


class TrainingRun(NamedTuple):
    """What a run of training has beside the recipe and the examples.

    Attributes:
        folder: Where its checkpoints lie; none are kept where there is none.
        num_processes: Processes that share each batch.
        on_epoch: Told after each epoch.
        checkpoint_seconds: Least time between two checkpoints of a model; 0: one each epoch.
        on_problem: Told, in words, what went wrong and was got over: a checkpoint cut short.
        device: `auto`, `cpu`, `cuda`, `cuda:N`; several processes take a GPU each where there are enough.
    """

    folder: Path | None = None
    num_processes: int = 1
    on_epoch: OnEpoch | None = None
    checkpoint_seconds: float = 1.0
    device: str = "auto"
    on_problem: Callable[[str], None] | None = None


@dataclass(frozen=True)
class Trained:
    """Models of one architecture, one a seed; a prediction is the mean of theirs.

    Attributes:
        architecture: How to build each.
        members: One a seed.
        classes: Classes in order by task.
        priors: What is said without any modality, by task.
        widths: Numbers in a stored vector, by feature.
        scales: Mean and deviation of the training split by modality.
        temperatures: What probabilities are calibrated with, by task.
    """

    architecture: Architecture
    members: tuple[Member, ...]
    classes: Mapping[str, tuple[str, ...]]
    priors: Mapping[str, tuple[float, ...]]
    widths: Mapping[str, int]
    scales: Mapping[str, Scale]
    temperatures: Mapping[str, float] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in the model's order."""
        return self.architecture.modalities

    def models(self) -> tuple[FusionModel, ...]:
        """Ready models, in evaluation mode and float64."""
        return for_prediction(self.architecture, [member.state for member in self.members])


def train(
    recipe: Recipe,
    examples: Examples,
    *,
    modalities: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    scales: Mapping[str, Scale] | None = None,
    name: str = "fused",
    run: TrainingRun | None = None,
) -> Trained:
    """Train a model for each seed.

    The same recipe, examples and seeds give the same weights, bit by bit, on one machine; so does a training that was
    killed and goes on from its last checkpoint.

    Args:
        recipe: Encoders, fusion and the loop's numbers.
        examples: Of all splits; the test split is not looked at. Vectors that are normalised per subject or media are
            so already.
        modalities: Learn from these only; by default from all of the recipe.
        seeds: By default those of the recipe.
        scales: Mean and deviation of the training split by modality; by default they are taken here.
        name: Of the model among those of this run, for its checkpoints.
        run: Checkpoints, processes, and whom to tell.

    Raises:
        ModelError: The training or dev split is empty, holds one class only, or has no row of a modality.

    Reference:
        Loshchilov & Hutter (2019), arXiv:1711.05101 (AdamW); Prechelt (1998), doi:10.1007/3-540-49430-8_3 (stopping).
    """
    names = tuple(modalities or recipe.modalities)
    check_examples(recipe, examples, names, ("train", "dev"))
    inputs = examples.inputs.only(names)
    there = inputs.any_present()
    rows = {split: _labelled(examples, split, there) for split in ("train", "dev")}
    scales = scales_of(inputs, rows["train"]) if scales is None else {k: v for k, v in scales.items() if k in names}
    targets = {task: held.take(rows["train"]) for task, held in examples.tasks.items()}
    architecture = architecture_of(recipe, inputs.shapes, examples.tasks)
    plan = Plan(recipe, architecture, inputs, examples.place, dict(examples.tasks), rows["train"], rows["dev"], scales)
    members = tuple(
        fit_member(plan, seed, name, run or TrainingRun())
        for seed in (recipe.training.seeds if seeds is None else seeds)
    )
    used = {
        f.name: inputs.widths[f.name] for modality in names for f in recipe.features_of(modality) if f in recipe.tables
    }
    return Trained(
        architecture,
        members,
        {task: held.classes for task, held in examples.tasks.items()},
        {task: held.prior() for task, held in targets.items()},
        used,
        scales,
    )


def _labelled(examples: Examples, split: str, there: np.ndarray) -> np.ndarray:
    """Places of the rows of a split that have any of the modalities and a label of any of the tasks."""
    known = np.logical_or.reduce([targets.known for targets in examples.tasks.values()])
    rows = examples.rows_of(split)
    return np.asarray(rows[there[rows] & known[rows]], np.int64)


def check_examples(
    recipe: Recipe, examples: Examples, modalities: Sequence[str], splits: Sequence[str] = ("train", "dev", "test")
) -> None:
    """Refuse examples that no model can be trained or tested with.

    Raises:
        ModelError: A split is empty, the training split holds one class only, or a modality has no row in one.
    """
    rows = {split: examples.rows_of(split) for split in splits}
    for task, targets in examples.tasks.items():
        counts = {split: int(targets.known[places].sum()) for split, places in rows.items()}
        empty = [split for split, count in counts.items() if not count]
        if empty:
            message = f"the {' and '.join(empty)} split of {recipe.splits.name!r} has no labelled segment of {task!r}"
            message += f" (rows: {counts}; left out: {dict(examples.left_out) or 'none'});"
            message += " label more media, or run what is missing, then train again"
            raise ModelError(message)
        _check_classes(recipe, examples, task, counts["train"])
    for modality in modalities:
        for split in ("train", "dev"):
            if not examples.present[modality][rows[split]].any():
                raise _no_rows(recipe, modality, split)


def _check_classes(recipe: Recipe, examples: Examples, task: str, count: int) -> None:
    """Refuse a training split from which nothing can be told apart."""
    targets = examples.tasks[task].take(examples.rows_of("train"))
    held = targets.values[targets.known]
    if targets.kind == "regression":
        if len(np.unique(held)) < 2:
            message = f"the training split holds one number only, {held[0]:g}, for task {task!r} ({count} rows);"
            message += f" add labels with: triptych label {recipe.labels} FILE"
            raise ModelError(message)
        return
    if targets.kind == "multilabel":
        if len(np.unique(held[~np.isnan(held)])) < 2:
            message = f"the training split holds one answer only for each class of task {task!r} ({count} rows);"
            message += " add labels that hold, and some that do not (number 0)"
            raise ModelError(message)
        return
    names = sorted({targets.classes[target] for target in held.tolist()})
    if len(names) < 2:
        message = f"the training split holds one class only, {names[0]!r} ({count} rows);"
        message += f" add labels of another class with: triptych label {recipe.labels} FILE"
        raise ModelError(message)


def _no_rows(recipe: Recipe, modality: str, split: str) -> ModelError:
    keys = ", ".join(feature.name for feature in recipe.features_of(modality))
    message = f"no media in the {split} split has modality {modality!r} (features: {keys}); extract it, or take the"
    message += f" features of {modality} out of recipe {recipe.name!r}"
    if modality == "text" and not recipe.allow_recognised_text:
        message += "; text that only a speech recogniser heard counts with allow_recognised_text = true"
    return ModelError(message)
