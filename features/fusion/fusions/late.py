"""Late fusion: each modality says what it says, and the votes are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.fusion.fusions.base import ModalityWeights

if TYPE_CHECKING:
    from features.fusion.configs import FusionConfig


class LateVotes(nn.Module):
    """The mean of what present modalities say, plain, by fixed weights, or by votes that are learned.

    The mean is taken of probabilities and told as their logarithm or log-odds, computed without leaving logarithms,
    so that a vote near 0 or 1 keeps its gradient. Where no modality counts, each class is as likely (a regression: 0).

    Args:
        config: `weights` fixes them, `learned` learns them from equal ones; neither: the plain mean.
        names: Modalities in order.
        kind: Of the task. `class`: probabilities, as their logarithms. `binary` and `multilabel`: the probability of
            each label, as log-odds. `regression`: numbers.

    Reference:
        Kittler et al. (1998), doi:10.1109/34.667881, the sum rule.
    """

    def __init__(self, config: FusionConfig, names: Sequence[str], kind: str) -> None:
        super().__init__()
        self.names = tuple(names)
        self.kind = kind
        self.weights = ModalityWeights(self.names, config.weights, learned=config.learned and not config.weights)

    def forward(self, logits: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Count the votes.

        Args:
            logits: Float [batch, k] by modality.
            present: Bool [batch] by modality.

        Returns:
            Float [batch, k], to be read as logits of the task; finite, also where nothing is present.
        """
        counted = self.weights.counted(present)[:, :, None]
        said = torch.where(counted, torch.stack([logits[name] for name in self.names], dim=1), 0)  # [batch, n, k]
        if self.kind == "regression":
            weights: Tensor = self.weights(present)
            return (weights[:, :, None] * said).sum(dim=1)
        shares = self.weights.logarithms(present)[:, :, None]
        if self.kind == "class":
            return torch.logsumexp(shares + functional.log_softmax(said, dim=2), dim=1)
        yes, no = (torch.logsumexp(shares + functional.logsigmoid(side), dim=1) for side in (said, -said))
        return yes - no
