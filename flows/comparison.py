"""A comparison of the fused model with each modality alone, in words and numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from features.fusion.figures import agreement_words, calibration_words
from flows.console import table

_CLASSES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "weighted F1": "weighted_f1",
}
_LABELS = {"accuracy": "accuracy", "F1": "f1", "weighted F1": "weighted_f1"}
_NUMBERS = {"MAE": "mae", "RMSE": "rmse", "correlation": "pearson", "R2": "r2"}

if TYPE_CHECKING:
    from features.fusion.results import Comparison, Difference, TaskComparison


def comparison_text(comparison: Comparison) -> str:
    """Tables of test metrics, and the verdicts, task by task."""
    parts = [_task_text(task) for task in comparison.tasks]
    if comparison.left_out:
        parts.append("left out: " + ", ".join(f"{count} {reason}" for reason, count in comparison.left_out.items()))
    if comparison.transductive:
        parts.append(f"transductive: vectors are normalised per {comparison.transductive}, by its own unlabelled rows")
    return "\n".join(parts)


def _task_text(task: TaskComparison) -> str:
    results = [(result.name, result.test) for result in (task.fused, *task.single, *task.subsets)]
    always = f"always {task.majority_class}" if task.majority_class else "always the mean"
    results.append((always if task.kind != "multilabel" else "always the most frequent", task.majority))
    names = {"regression": _NUMBERS, "multilabel": _LABELS}.get(task.kind, _CLASSES)
    rows = [(name, *(getattr(metrics, field) for field in names.values())) for name, metrics in results]
    train, dev, test = task.num_rows
    head = f"{task.task}: {train} train, {dev} dev, {test} test segments of {task.num_test_groups} test groups"
    lines = [head, table(("model", *names), rows), task.verdict]
    lines += [f"without {cost.name}: {_difference(task, cost, -1)}" for cost in task.absence]
    lines += [f"against {other.name}: {_difference(task, other, 1)}" for other in task.alone]
    for found in task.calibration:
        own = "of its own" if found.own_groups else "that early stopping saw too"
        groups = f"{found.num_groups} dev groups {own}"
        lines.append(f"calibration: temperature {found.temperature:.2f} ({groups}), {calibration_words(found)}")
    lines += [f"fused: {agreement_words(found)}" for found in task.agreement]
    return "\n".join(lines)


def _difference(task: TaskComparison, other: Difference, sign: int) -> str:
    return "{} ({})".format(*task.in_words(other, sign=sign))


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """For `--json`."""
    data: dict[str, Any] = json.loads(comparison.to_json())
    for task, found in zip(comparison.tasks, data["tasks"], strict=True):
        found |= {"gain_shown": task.gain_shown, "verdict": task.verdict}
    return {**data, "gain_shown": comparison.gain_shown, "verdict": comparison.verdict}
