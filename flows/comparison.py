"""A comparison of the fused model with each modality alone, in words and numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flows.console import table

if TYPE_CHECKING:
    from features.fusion.compare import Comparison


def comparison_text(comparison: Comparison) -> str:
    """A table of test metrics, and the verdict."""
    results = [(r.name, r.test) for r in (comparison.fused, *comparison.single)]
    results.append((f"always {comparison.majority_class}", comparison.majority))
    rows = [(name, m.accuracy, m.precision, m.recall, m.f1) for name, m in results]
    train, dev, test = comparison.num_rows
    head = (
        f"{comparison.task}: {train} train, {dev} dev, {test} test segments of {comparison.num_test_groups} test groups"
    )
    return "\n".join([head, table(("model", "accuracy", "precision", "recall", "F1"), rows), comparison.verdict])


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """For `--json`."""
    data: dict[str, Any] = json.loads(comparison.to_json())
    return {**data, "gain_shown": comparison.gain_shown, "verdict": comparison.verdict}
