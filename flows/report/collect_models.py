"""Reads the models of a store for the report: comparisons, calibration, errors of regressions."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from features.errors import TriptychError
from features.fusion.checkpoint import load_model
from features.store.models import list_models, model_folder
from flows.report.data import ErrorRow, MetricsRow, ModelSummary, ProbabilityRow, RegressionSummary

if TYPE_CHECKING:
    from features.fusion.metrics import Metrics
    from features.fusion.results import ModelResult, TaskComparison
    from features.store import Store
    from features.store.models import ModelRef

    Summary = ModelSummary | RegressionSummary


def models_of(store: Store) -> tuple[tuple[ModelSummary, ...], tuple[RegressionSummary, ...]]:
    """The tasks of all models, newest first: those of classes and labels, and the regressions."""
    found: list[Summary] = []
    for ref in list_models(store):
        try:
            model = load_model(model_folder(store, ref))
        except TriptychError:
            continue  # a damaged model is `verify`'s business, not the report's
        found += [_summary(ref, task, datetime.fromisoformat(model.created_at)) for task in model.comparison.tasks]
    found.sort(key=lambda one: one.created_at, reverse=True)
    classes = tuple(one for one in found if isinstance(one, ModelSummary))
    return classes, tuple(one for one in found if isinstance(one, RegressionSummary))


def _summary(ref: ModelRef, task: TaskComparison, created_at: datetime) -> Summary:
    return _regression(ref, task, created_at) if task.kind == "regression" else _model(ref, task, created_at)


def _regression(ref: ModelRef, task: TaskComparison, created_at: datetime) -> RegressionSummary:
    rows = [_errors(result) for result in (task.fused, *task.single)]
    mean = task.majority
    rows.append(ErrorRow("always the mean", mean.mae, rmse=mean.rmse, pearson=mean.pearson, r2=mean.r2))
    return RegressionSummary(
        name=ref.name,
        version=str(ref.version),
        task=task.task,
        created_at=created_at,
        rows=tuple(rows),
        verdict=task.verdict,
        num_rows=task.num_rows,
        num_test_groups=task.num_test_groups,
        agreement=task.agreement[0] if task.agreement else None,
    )


def _errors(result: ModelResult) -> ErrorRow:
    test = result.test  # the score of a regression is minus the error
    return ErrorRow(result.name, test.mae, -result.high, -result.low, test.rmse, test.pearson, test.r2)


def _model(ref: ModelRef, comparison: TaskComparison, created_at: datetime) -> ModelSummary:
    train, dev, test = comparison.num_rows
    gain = comparison.gain
    has_gain = bool(comparison.single)
    majority = comparison.majority
    rows = [_metrics(result, test) for result in (comparison.fused, *comparison.single)]
    rows.append(_row("majority", majority, test))
    return ModelSummary(
        name=ref.name,
        version=str(ref.version),
        task=comparison.task,
        classes=comparison.classes,
        created_at=created_at,
        rows=tuple(rows),
        gain=gain.value if has_gain else None,
        gain_low=gain.low if has_gain else None,
        gain_high=gain.high if has_gain else None,
        gain_shown=comparison.gain_shown,
        best_single=comparison.best_single,
        num_train=train,
        num_dev=dev,
        num_test=test,
        calibration=comparison.calibration[0] if comparison.calibration else None,
        probabilities=_probabilities(comparison),
    )


def _metrics(result: ModelResult, num_rows: int) -> MetricsRow:
    return _row(result.name, result.test, num_rows)


def _row(name: str, metrics: Metrics, num_rows: int) -> MetricsRow:
    accuracy, precision, recall, f1 = (
        value or 0.0 for value in (metrics.accuracy, metrics.precision, metrics.recall, metrics.f1)
    )
    return MetricsRow(name, accuracy, precision, recall, f1, num_rows)


def _probabilities(task: TaskComparison) -> tuple[ProbabilityRow, ...]:
    test = task.fused.test
    if not task.calibration:
        return (ProbabilityRow("as trained", test.ece, test.brier, test.nll),)
    found = task.calibration[0]
    return (
        ProbabilityRow("without temperature", found.ece_before, found.brier_before, found.nll_before),
        ProbabilityRow(f"with temperature {found.temperature:.2f}", found.ece, test.brier, found.nll),
    )
