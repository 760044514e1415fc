"""Comparison: does fusion beat each modality alone, measured on the same test rows?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.errors import ConfigError, ModelError
from features.fusion.metrics import Metrics, classification_metrics, paired_bootstrap
from features.fusion.model import predict_probabilities
from features.fusion.settings import Place, parse
from features.fusion.training import Trained, check_examples, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from features.fusion.dataset import Examples
    from features.fusion.recipe import Recipe

RESAMPLES = 2000
"""Draws of the paired bootstrap."""

MIN_TEST_GROUPS = 20
"""Fewer groups in the test split than this never show a gain: the bootstrap's interval is too narrow there."""


@dataclass(frozen=True, slots=True)
class ModelResult:
    """A model's figures.

    Attributes:
        name: `fused`, or the one modality that it learned from.
        dev: Metrics on the dev split.
        dev_loss: Mean negative log-likelihood on the dev split, nats.
        test: Metrics on all test rows.
        num_test_present: Test rows where it had any modality; on the others it says the most frequent class.
    """

    name: str
    dev: Metrics
    dev_loss: float
    test: Metrics
    num_test_present: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The fused model beside each modality alone.

    Attributes:
        task: What is predicted.
        classes: Classes in order.
        num_rows: Labelled segments by split: train, dev, test.
        num_test_groups: Groups in the test split.
        majority_class: Most frequent class of the training split.
        majority: Metrics on the test split of always saying it.
        fused: The model of all modalities.
        single: The models of one modality each.
        best_single: The best of them on the dev split.
        gain: Test accuracy of the fused model minus that of the best single one.
        gain_low: Lower end of the gain's 95 % interval, by paired bootstrap over groups.
        gain_high: Upper end.
        seeds: Seeds whose probabilities are averaged.
        resamples: Draws of the bootstrap.
    """

    task: str
    classes: tuple[str, ...]
    num_rows: tuple[int, ...]
    num_test_groups: int
    majority_class: str
    majority: Metrics
    fused: ModelResult
    single: tuple[ModelResult, ...]
    best_single: str
    gain: float
    gain_low: float
    gain_high: float
    seeds: tuple[int, ...]
    resamples: int

    @property
    def gain_shown(self) -> bool:
        """Whether fusion is shown to help: the interval lies above 0, over enough groups to mean something."""
        return self.gain_low > 0 and self.num_test_groups >= MIN_TEST_GROUPS

    @property
    def verdict(self) -> str:
        """What the comparison shows, in a sentence."""
        gain = f"fusion {100 * self.gain:+.1f} points over {self.best_single} alone"
        interval = f"95 % interval {100 * self.gain_low:+.1f} to {100 * self.gain_high:+.1f}"
        if self.gain_shown:
            return f"gain shown: {gain} ({interval}, {self.num_test_groups} test groups)"
        few = f"; fewer than {MIN_TEST_GROUPS} groups show none" if self.num_test_groups < MIN_TEST_GROUPS else ""
        return f"no gain shown: {gain} ({interval}, {self.num_test_groups} test groups{few})"

    def to_json(self) -> str:
        """The comparison as a JSON object."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Read what `to_json` wrote.

        Raises:
            ModelError: The text is not a comparison.
        """
        try:
            return parse(cls, json.loads(text), Place("stored comparison"))
        except (ValueError, ConfigError) as error:
            message = f"{text[:80]!r} is not a comparison of models ({error}); train the model again"
            raise ModelError(message) from error


class _Outcome(NamedTuple):
    result: ModelResult
    correct: NDArray[np.bool_]


def compare(
    recipe: Recipe, examples: Examples, *, on_progress: Callable[[str, int, int], None] | None = None
) -> tuple[Trained, Comparison]:
    """Train the fused model and each modality alone, and measure them on the same test rows.

    Args:
        recipe: What to train; each model is trained for all its seeds.
        examples: Labelled segments of all splits.
        on_progress: Called with the name of the model that starts, its number from 0, and how many there are.

    Returns:
        The fused model, and the comparison, whose figures are that model's.

    Raises:
        ModelError: See `train`.
    """
    check_examples(recipe, examples, recipe.modalities)
    plans: dict[str, tuple[str, ...]] = {"fused": recipe.modalities}
    plans |= {modality: (modality,) for modality in recipe.modalities}
    outcomes: dict[str, _Outcome] = {}
    fused: Trained | None = None
    for number, (name, modalities) in enumerate(plans.items()):
        if on_progress:
            on_progress(name, number, len(plans))
        trained = train(recipe, examples, modalities=modalities)
        fused = fused or trained
        outcomes[name] = _evaluate(name, trained, examples)
    return fused or trained, _compared(recipe, examples, outcomes)


def _evaluate(name: str, trained: Trained, examples: Examples) -> _Outcome:
    models = trained.models()
    probabilities, targets = {}, {}
    for split in ("dev", "test"):
        part = examples.of_split(split)
        probabilities[split] = predict_probabilities(models, part.inputs.only(trained.modalities), trained.prior)
        targets[split] = part.targets
    predictions = {split: values.argmax(axis=1) for split, values in probabilities.items()}
    of_truth = probabilities["dev"][np.arange(len(targets["dev"])), targets["dev"]]
    present = examples.of_split("test").inputs.only(trained.modalities).any_present()
    result = ModelResult(
        name=name,
        dev=classification_metrics(targets["dev"], predictions["dev"]),
        dev_loss=float(-np.log(np.maximum(of_truth, 1e-12)).mean()),
        test=classification_metrics(targets["test"], predictions["test"]),
        num_test_present=int(present.sum()),
    )
    return _Outcome(result, predictions["test"] == targets["test"])


def _compared(recipe: Recipe, examples: Examples, outcomes: dict[str, _Outcome]) -> Comparison:
    test = examples.of_split("test")
    counts = np.bincount(examples.of_split("train").targets, minlength=len(examples.classes))
    majority = int(counts.argmax())
    single = [outcomes[modality] for modality in recipe.modalities]
    best = max(single, key=lambda outcome: (outcome.result.dev.accuracy, -outcome.result.dev_loss))
    fused = outcomes["fused"]
    low, high = paired_bootstrap(fused.correct, best.correct, test.groups, resamples=RESAMPLES)
    return Comparison(
        task=recipe.task.name,
        classes=examples.classes,
        num_rows=tuple(len(examples.of_split(split)) for split in ("train", "dev", "test")),
        num_test_groups=len(set(test.groups)),
        majority_class=examples.classes[majority],
        majority=classification_metrics(test.targets, np.full(len(test), majority)),
        fused=fused.result,
        single=tuple(outcome.result for outcome in single),
        best_single=best.result.name,
        gain=float(fused.correct.mean() - best.correct.mean()),
        gain_low=low,
        gain_high=high,
        seeds=recipe.training.seeds,
        resamples=RESAMPLES,
    )
