"""Results: a model's figures on each task beside those of others, as `model.json` and the report have them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from features.errors import ConfigError, ModelError
from features.fusion.calibration import CalibrationBin
from features.fusion.figures import difference_parts
from features.fusion.metrics import Metrics
from features.fusion.settings import Place, parse

MIN_TEST_GROUPS = 20
"""Fewer groups in the test split than this never show a gain: the bootstrap's interval is too narrow there."""

MAX_POINTS = 400
"""Test rows of a regression that are kept for its figure, at most."""


@dataclass(frozen=True, slots=True)
class ModelResult:
    """A model's figures on one task.

    Attributes:
        name: `fused`, or its modalities joined by `+`.
        dev: Metrics on the dev split.
        test: Metrics on the test rows that the task labels.
        score: The headline on them: accuracy, or minus the mean absolute error.
        low: Lower end of its 95 % interval, by bootstrap over groups.
        high: Upper end.
        num_test_present: Test rows where it had any modality; on the others it says the most frequent class.
    """

    name: str
    dev: Metrics
    test: Metrics
    score: float
    low: float
    high: float
    num_test_present: int


@dataclass(frozen=True, slots=True)
class Difference:
    """The fused model's headline minus another's on the same test rows, with its 95 % interval over groups.

    Attributes:
        name: Of the other: a modality that was masked, or what was trained otherwise.
        value: The difference.
        low: Lower end, by paired bootstrap.
        high: Upper end.
    """

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a temperature does to the fused model's probabilities on the test rows.

    Attributes:
        temperature: Kept in the model; 1 where none was fitted.
        num_groups: Groups of the dev split that it was fitted on.
        own_groups: Whether these took no part in early stopping.
        ece_before: Expected calibration error, 15 bins, without it.
        ece: The same with it.
        nll_before: Mean negative log-likelihood, nats, without it.
        nll: The same with it.
        bins: With it, those that hold a row.
        bins_before: Without it.
        brier_before: Brier score as `Metrics.brier` has it, without it; None in models of before it was kept.
        brier: The same with it.
    """

    temperature: float
    num_groups: int
    own_groups: bool
    ece_before: float
    ece: float
    nll_before: float
    nll: float
    bins: tuple[CalibrationBin, ...] = ()
    bins_before: tuple[CalibrationBin, ...] = ()
    brier_before: float | None = None
    brier: float | None = None


@dataclass(frozen=True, slots=True)
class RegressionPoint:
    """A test row of a regression: the label's number, and what the fused model says."""

    truth: float
    predicted: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the fused model's numbers agree with the truth on the test rows of a regression.

    The mean absolute error and its interval are the headline (`ModelResult.score`).

    Attributes:
        rmse: Root mean squared error with its 95 % interval over groups, in the labels' unit: value, low, high.
        pearson: Correlation, likewise; empty where either side does not vary.
        points: Test rows, at most `MAX_POINTS`, evenly taken in their order.
    """

    rmse: tuple[float, ...]
    pearson: tuple[float, ...] = ()
    points: tuple[RegressionPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """The fused model beside others on one task.

    Attributes:
        task: What is predicted.
        kind: Its kind.
        classes: Classes in order; none for a regression.
        num_rows: Segments that it labels by split: train, dev, test.
        num_test_groups: Groups in the test split.
        majority_class: Most frequent class of the training split; empty where there is none.
        majority: Metrics on the test split of always saying what is most frequent (a regression: the mean).
        fused: The model of all modalities.
        single: The models of one modality each; none were trained with `none`.
        subsets: The models of other subsets, with `full`.
        best_single: The best single one on the dev split; empty where there is none.
        gain: Of the fused model over it.
        absence: What masking each modality costs the fused model.
        alone: What training this task beside the others brings over training it alone; none with one task.
        calibration: None for a regression.
        agreement: Of a regression; none for other kinds, and in models of before it was kept.
    """

    task: str
    kind: str
    classes: tuple[str, ...]
    num_rows: tuple[int, ...]
    num_test_groups: int
    majority_class: str
    majority: Metrics
    fused: ModelResult
    single: tuple[ModelResult, ...]
    subsets: tuple[ModelResult, ...]
    best_single: str
    gain: Difference
    absence: tuple[Difference, ...]
    alone: tuple[Difference, ...]
    calibration: tuple[Calibration, ...]
    agreement: tuple[Agreement, ...] = ()

    @property
    def gain_shown(self) -> bool:
        """Whether fusion is shown to help: the interval lies above 0, over enough groups to mean something."""
        return bool(self.single) and self.gain.low > 0 and self.num_test_groups >= MIN_TEST_GROUPS

    @property
    def verdict(self) -> str:
        """What the comparison shows, in a sentence."""
        if not self.single:
            return "no gain shown: no modality was trained alone (--ablate single)"
        words, interval = self.in_words(self.gain)
        gain = f"fusion {words} over {self.best_single} alone"
        if self.gain_shown:
            return f"gain shown: {gain} ({interval}, {self.num_test_groups} test groups)"
        few = f"; fewer than {MIN_TEST_GROUPS} groups show none" if self.num_test_groups < MIN_TEST_GROUPS else ""
        return f"no gain shown: {gain} ({interval}, {self.num_test_groups} test groups{few})"

    def in_words(self, difference: Difference, *, sign: int = 1) -> tuple[str, str]:
        """A difference and its interval: `+6.1 points`; of an error, less of which is better, what it changes by."""
        value, ends = difference_parts(self.kind, difference, sign=sign)
        unit = "of mean absolute error" if self.kind == "regression" else "points"
        return f"{value} {unit}", f"95 % interval {ends}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The fused model beside each modality alone, by task.

    Attributes:
        tasks: One a task, in the recipe's order.
        num_rows: Labelled segments by split: train, dev, test.
        num_test_groups: Groups in the test split.
        seeds: Seeds whose predictions are averaged.
        resamples: Draws of the bootstrap.
        ablate: Of `features.fusion.compare.ABLATIONS`.
        left_out: Labelled segments that were left out, by reason.
        transductive: `subject` or `media`, where vectors are normalised by these; else empty.
    """

    tasks: tuple[TaskComparison, ...]
    num_rows: tuple[int, ...]
    num_test_groups: int
    seeds: tuple[int, ...]
    resamples: int
    ablate: str
    left_out: Mapping[str, int]
    transductive: str = ""

    @property
    def first(self) -> TaskComparison:
        """The first task's."""
        return self.tasks[0]

    @property
    def gain_shown(self) -> bool:
        """Whether fusion is shown to help on the first task."""
        return self.first.gain_shown

    @property
    def verdict(self) -> str:
        """What the comparison shows, a sentence a task."""
        if len(self.tasks) == 1:
            return self.first.verdict
        return "\n".join(f"{task.task}: {task.verdict}" for task in self.tasks)

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
