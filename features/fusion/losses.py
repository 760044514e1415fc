"""Losses: what each kind of task asks of logits, and how several tasks weigh against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.errors import ModelError
from features.fusion.examples import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEAST_WEIGHT = 1e-12


def task_loss(kind: str, logits: Tensor, targets: Tensor, weights: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean loss of a task over the rows that it labels, each with its weight; exactly 0 where there are none.

    Args:
        kind: `class`: cross-entropy. `binary`, `multilabel`: binary cross-entropy, of `multilabel` the mean over a
            row's known cells. `regression`: the squared error, of standardised numbers.
        logits: Float [batch, num_classes]; `binary` and `regression` [batch, 1].
        targets: `class`, `binary`: int64 [batch], -1 unknown. `multilabel`: 0 or 1, float [batch, num_classes], NaN
            unknown. `regression`: float [batch], NaN unknown.
        weights: Float [batch], at least 0.
        label_smoothing: Share of a target that goes evenly to all classes, in [0, 1); none for `regression`.

    Returns:
        A scalar with a graph.

    Raises:
        ModelError: There is no such kind of task.

    Reference:
        Szegedy et al. (2016), arXiv:1512.00567 (label smoothing).
    """
    losses, known = _row_losses(kind, logits, targets, label_smoothing)
    counted = weights * known
    return (losses * counted).sum() / counted.sum().clamp(min=_LEAST_WEIGHT)


def labelled_weight(kind: str, targets: Tensor, weights: Tensor) -> float:
    """What the rows that a task labels weigh together; arguments as of `task_loss`."""
    return float((weights * _known(kind, targets)).sum())


def blend(one: tuple[Tensor, float], other: tuple[Tensor, float]) -> tuple[Tensor, float]:
    """The mean loss over two sets of rows, of the means and the weights of each: for mixup, where a row counts twice.

    Args:
        one: Mean loss and weight of the rows with their own targets.
        other: The same with those of their partners.

    Returns:
        Mean loss and weight of both.
    """
    weight = one[1] + other[1]
    return (one[0] * one[1] + other[0] * other[1]) / max(weight, _LEAST_WEIGHT), weight


def _row_losses(kind: str, logits: Tensor, targets: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """Loss of each row, 0 where it is not labelled, and whether it is: [batch] each.

    What is unknown is replaced before the loss, not after: else its gradient would be NaN.
    """
    known = _known(kind, targets)
    if kind == "class":
        safe = torch.where(known, targets, 0)
        losses = functional.cross_entropy(logits, safe, reduction="none", label_smoothing=label_smoothing)
    elif kind == "binary":
        wanted = _smooth(torch.where(known, targets, 0).to(logits), label_smoothing)
        losses = functional.binary_cross_entropy_with_logits(logits[:, 0], wanted, reduction="none")
    elif kind == "multilabel":
        cells = ~torch.isnan(targets)
        wanted = _smooth(torch.where(cells, targets, 0).to(logits), label_smoothing)
        each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * cells
        losses = each.sum(dim=1) / cells.sum(dim=1).clamp(min=1)
    else:
        losses = torch.square(logits[:, 0] - torch.where(known, targets, 0).to(logits))
    return losses * known, known


def _known(kind: str, targets: Tensor) -> Tensor:
    """Whether a task labels a row, bool [batch]."""
    if kind in ("class", "binary"):
        return targets != UNKNOWN
    if kind == "multilabel":
        return (~torch.isnan(targets)).any(dim=1)
    if kind == "regression":
        return ~torch.isnan(targets)
    message = f"there is no loss for tasks of kind {kind!r}; there are: class, binary, multilabel, regression"
    raise ModelError(message)


def _smooth(targets: Tensor, label_smoothing: float) -> Tensor:
    """Targets of yes or no, some of which is taken off and given evenly to both."""
    return targets * (1 - label_smoothing) + label_smoothing / 2


class TaskWeights(nn.Module):
    """The weight of each task's loss in the sum: fixed, or learned by uncertainty.

    Learned, a task of weight w counts w * (exp(-s) * L + s / 2), a regression w * (exp(-s) * L / 2 + s / 2), with
    s = log(variance) learned from 0: at its best, exp(s) is the squared error of a regression, or twice the
    cross-entropy. Beside fixed weights it has no parameters.

    Reference:
        Kendall, Gal & Cipolla (2018), arXiv:1705.07115, equations 5, 7 and 10: their 1 / (2 variance) for a
        regression's squared error, 1 / variance for a cross-entropy, log(deviation) for each.
    """

    def __init__(self, kinds: Mapping[str, str], fixed: Mapping[str, float], *, learned: bool) -> None:
        """Nothing is learned yet.

        Args:
            kinds: Kind of each task.
            fixed: Weight of each task.
            learned: Whether uncertainty weighs them beside.
        """
        super().__init__()
        self.fixed = {task: float(fixed[task]) for task in kinds}
        self._halves = {task: 0.5 if kind == "regression" else 1.0 for task, kind in kinds.items()}
        self._place = {task: index for index, task in enumerate(kinds)}
        self.log_variances = nn.Parameter(torch.zeros(len(kinds))) if learned else None

    def combine(self, losses: Mapping[str, Tensor], num_labelled: Mapping[str, int], share: float = 1.0) -> Tensor:
        """The sum of the tasks' losses, weighed; a task without a labelled row in the batch adds zero.

        Args:
            losses: Mean loss by task, scalars; a process that holds a part of a batch gives the part's share of it.
            num_labelled: Rows that each task labels; of the whole batch, where processes share it.
            share: Of the terms that no row has part in, s / 2: one over the number of processes whose gradients are
                added up.

        Returns:
            A scalar with a graph.
        """
        terms = [self._term(task, loss, share) if num_labelled[task] else loss * 0 for task, loss in losses.items()]
        return torch.stack(terms).sum()

    def _term(self, task: str, loss: Tensor, share: float) -> Tensor:
        if self.log_variances is None:
            return self.fixed[task] * loss
        log_variance = self.log_variances[self._place[task]]
        return self.fixed[task] * (torch.exp(-log_variance) * self._halves[task] * loss + share * log_variance / 2)
