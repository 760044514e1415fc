"""Evaluation: what trained models say of the dev and test rows, calibrated, and how they differ on the same rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.fusion.agreement import agreement_of
from features.fusion.bootstrap import interval, paired_bootstrap
from features.fusion.calibration import calibration_error, calibration_groups, fit_temperature, logits_of
from features.fusion.metrics import Metrics, measure, score_rows
from features.fusion.prediction import predict_outputs, prior_outputs
from features.fusion.results import Agreement, Calibration, Difference, ModelResult, TaskComparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from features.fusion.examples import Examples, TaskTargets
    from features.fusion.recipe import Recipe
    from features.fusion.training import Trained

RESAMPLES = 2000
"""Draws of the bootstrap."""

CALIBRATION_SHARE = 0.3
"""Share of the dev split's groups that the temperature is fitted on, and early stopping does not see."""

FEWEST_GROUPS = 5
"""Dev groups without which no temperature is fitted: those of one or two would speak for themselves."""

_CALIBRATION = "calibration"


@dataclass(frozen=True)
class Evaluation:
    """What a model says of the dev and test rows.

    Attributes:
        name: Of the model.
        outputs: By split and task.
        num_test_present: Test rows that it has a modality of.
    """

    name: str
    outputs: Mapping[str, Mapping[str, NDArray[np.float64]]]
    num_test_present: int


@dataclass(frozen=True)
class Probes:
    """What the fused model says of the test rows otherwise: by task, and by the modality that is masked.

    Attributes:
        uncalibrated: Without its temperatures; none where it has none.
        without: With a modality masked; none where it has no other.
    """

    uncalibrated: Mapping[str, NDArray[np.float64]]
    without: Mapping[str, Mapping[str, NDArray[np.float64]]]


class HeldOut(NamedTuple):
    """Places of the examples that the temperature is fitted on, and whether training looks at none of them."""

    rows: NDArray[np.int64]
    is_apart: bool


def hold_out(recipe: Recipe, examples: Examples) -> tuple[Examples, HeldOut]:
    """The examples as training may see them, and those that the temperature is fitted on.

    Groups of the dev split are held out of early stopping where there are enough; otherwise, and where nothing stops
    early, the temperature is fitted on the whole dev split.
    """
    dev = examples.rows_of("dev")
    if not recipe.training.early_stopping:
        return examples, HeldOut(dev, is_apart=True)
    chosen = calibration_groups([examples.groups[row] for row in dev], CALIBRATION_SHARE, seed=0)
    held = [row for row in dev.tolist() if examples.groups[row] in chosen]
    if not held or len(held) == len(dev):
        return examples, HeldOut(dev, is_apart=False)
    split = list(examples.split)
    for row in held:
        split[row] = _CALIBRATION
    return replace(examples, split=split), HeldOut(np.array(held, np.int64), is_apart=True)


def calibrated(trained: Trained, examples: Examples, rows: NDArray[np.int64]) -> Trained:
    """The model with a temperature for each task of classes or labels, fitted on these rows."""
    if len({examples.groups[row] for row in rows}) < FEWEST_GROUPS:
        return trained
    outputs = _outputs(trained, examples, rows)
    temperatures = {}
    for name, targets in examples.tasks.items():
        known = targets.known[rows]
        if targets.kind == "regression" or not known.any():
            continue
        own = targets.take(rows[known])
        logits = logits_of(outputs[name][known], kind=own.kind)
        temperatures[name] = fit_temperature(logits, own.values, own.weights, kind=own.kind)
    return replace(trained, temperatures=temperatures)


def evaluate(name: str, trained: Trained, examples: Examples) -> Evaluation:
    """What a model says of the dev and the test rows."""
    rows = {split: examples.rows_of(split) for split in ("dev", "test")}
    present = examples.inputs.only(trained.modalities).any_present()
    outputs = {split: _outputs(trained, examples, places) for split, places in rows.items()}
    return Evaluation(name, outputs, int(present[rows["test"]].sum()))


def probe(fused: Trained, examples: Examples) -> Probes:
    """Ask the fused model of the test rows once more, without its temperatures and without each modality."""
    rows = examples.rows_of("test")
    masked = fused.modalities if len(fused.modalities) > 1 else ()
    return Probes(
        _outputs(replace(fused, temperatures={}), examples, rows) if fused.temperatures else {},
        {modality: _outputs(fused, examples, rows, without=modality) for modality in masked},
    )


def compare_task(
    task: str,
    fused: Trained,
    examples: Examples,
    evaluations: Mapping[str, Evaluation],
    plans: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]],
    probes: Probes,
    of_calibration: HeldOut,
) -> TaskComparison:
    """The fused model beside the others on one task.

    Args:
        task: The task.
        fused: The fused model, calibrated.
        examples: Of all splits.
        evaluations: By name of the model, the fused one first.
        plans: Modalities and tasks by the same names.
        probes: What the fused model says otherwise.
        of_calibration: What the temperature was fitted on.
    """
    judge = _Judge(task, examples)
    first, *others = evaluations
    own = {name: judge.result(evaluations[name]) for name in evaluations if task in plans[name][1]}
    subsets = [name for name in others if name in own and len(plans[name][1]) == len(examples.tasks)]
    single = [name for name in subsets if len(plans[name][0]) == 1]
    best = max(single, key=lambda name: (judge.dev_score(evaluations[name]), -(own[name].dev.nll or 0)), default="")
    told = evaluations[first]
    alone = [name for name in own if name != first and name not in subsets]
    counts = tuple(int(judge.targets.known[examples.rows_of(split)].sum()) for split in ("train", "dev", "test"))
    majority = int(np.argmax(fused.priors[task])) if judge.targets.kind in ("class", "binary") else -1
    return TaskComparison(
        task=task,
        kind=judge.targets.kind,
        classes=judge.targets.classes,
        num_rows=counts,
        num_test_groups=len(set(judge.groups)),
        majority_class=judge.targets.classes[majority] if majority >= 0 else "",
        majority=judge.majority(fused.priors[task]),
        fused=own[first],
        single=tuple(own[name] for name in single),
        subsets=tuple(own[name] for name in subsets if name not in single),
        best_single=best,
        gain=judge.difference(best, told, evaluations[best]) if best else Difference("", 0.0, 0.0, 0.0),
        absence=judge.absences(told, probes),
        alone=tuple(judge.difference(name, told, evaluations[name]) for name in alone),
        calibration=judge.calibration(fused, told, probes, of_calibration),
        agreement=judge.agreement(told),
    )


class _Judge:
    """One task's rows: truth, groups, and how well models do on them."""

    def __init__(self, task: str, examples: Examples) -> None:
        self.task = task
        self.targets = examples.tasks[task]
        self._examples = examples
        self._known = {split: self.targets.known[examples.rows_of(split)] for split in ("dev", "test")}
        self._truth = {split: self._of(split) for split in ("dev", "test")}
        self.groups = [examples.groups[row] for row in examples.rows_of("test")[self._known["test"]]]

    def _of(self, split: str) -> TaskTargets:
        return self.targets.take(self._examples.rows_of(split)[self._known[split]])

    def result(self, told: Evaluation) -> ModelResult:
        scores = self._scores(told)
        low, high = interval(scores, self.groups, resamples=RESAMPLES)
        return ModelResult(
            told.name, self._metrics(told, "dev"), self._metrics(told, "test"), float(scores.mean()), low, high,
            told.num_test_present,
        )  # fmt: skip

    def dev_score(self, told: Evaluation) -> float:
        return float(self._rows("dev", told.outputs["dev"]).mean())

    def difference(self, name: str, told: Evaluation, other: Evaluation) -> Difference:
        return self._difference(name, self._scores(told), self._scores(other))

    def majority(self, prior: tuple[float, ...]) -> Metrics:
        truth = self._truth["test"]
        return measure(truth.kind, truth.values, prior_outputs(truth.kind, prior, len(truth.values)))

    def absences(self, told: Evaluation, probes: Probes) -> tuple[Difference, ...]:
        """What masking each modality costs the model, where it has others."""
        scores = self._scores(told)
        hidden = {modality: self._rows("test", outputs) for modality, outputs in probes.without.items()}
        return tuple(self._difference(modality, scores, other) for modality, other in hidden.items())

    def calibration(self, fused: Trained, told: Evaluation, probes: Probes, held: HeldOut) -> tuple[Calibration, ...]:
        if self.task not in fused.temperatures:
            return ()
        truth = self._truth["test"]
        outputs = self._said("test", told.outputs["test"])
        raw = self._said("test", probes.uncalibrated)
        before = measure(truth.kind, truth.values, raw)
        after = measure(truth.kind, truth.values, outputs)
        found = Calibration(
            temperature=fused.temperatures[self.task],
            num_groups=len({self._examples.groups[row] for row in held.rows}),
            own_groups=held.is_apart,
            ece_before=before.ece or 0.0,
            ece=after.ece or 0.0,
            nll_before=before.nll or 0.0,
            nll=after.nll or 0.0,
            bins=calibration_error(outputs, truth.values, kind=truth.kind).bins,
            bins_before=calibration_error(raw, truth.values, kind=truth.kind).bins,
            brier_before=before.brier,
            brier=after.brier,
        )
        return (found,)

    def agreement(self, told: Evaluation) -> tuple[Agreement, ...]:
        truth = self._truth["test"]
        if truth.kind != "regression":
            return ()
        return (agreement_of(truth.values, self._said("test", told.outputs["test"]), self.groups, resamples=RESAMPLES),)

    def _said(self, split: str, outputs: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """What is said of the rows of a split that the task labels."""
        return outputs[self.task][self._known[split]]

    def _metrics(self, told: Evaluation, split: str) -> Metrics:
        truth = self._truth[split]
        return measure(truth.kind, truth.values, self._said(split, told.outputs[split]))

    def _scores(self, told: Evaluation) -> NDArray[np.float64]:
        return self._rows("test", told.outputs["test"])

    def _rows(self, split: str, outputs: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        truth = self._truth[split]
        return score_rows(truth.kind, truth.values, self._said(split, outputs))

    def _difference(self, name: str, scores: NDArray[np.float64], other: NDArray[np.float64]) -> Difference:
        low, high = paired_bootstrap(scores, other, self.groups, resamples=RESAMPLES)
        return Difference(name, float(scores.mean() - other.mean()), low, high)


def _outputs(
    trained: Trained, examples: Examples, rows: NDArray[np.int64], without: str = ""
) -> dict[str, NDArray[np.float64]]:
    inputs = examples.inputs.only(trained.modalities)
    if without:
        inputs = inputs.without(without)
    return predict_outputs(trained.models(), inputs, examples.place, trained.priors, trained.temperatures, rows)
