"""Late fusion: each modality says what it says, and the votes are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.fusion.fusions.base import share_out

if TYPE_CHECKING:
    from features.fusion.configs import FusionConfig

_SMALLEST = 1e-7


class LateVotes(nn.Module):
    """The mean of what present modalities say, plain, by fixed weights, or by votes that are learned.

    Args:
        config: `weights` fixes them, `learned` learns them from equal ones; neither: the plain mean.
        names: Modalities in order.
        kind: Of the task. `class`: the mean of probabilities, told as their logarithms. `binary` and `multilabel`:
            the mean of each probability, told as log-odds. `regression`: the mean of numbers.

    Reference:
        Kittler et al. (1998), doi:10.1109/34.667881, the sum rule.
    """

    def __init__(self, config: FusionConfig, names: Sequence[str], kind: str) -> None:
        super().__init__()
        self.names = tuple(names)
        self.kind = kind
        fixed = config.weights
        start = torch.tensor([fixed[name] for name in names]).log() if fixed else torch.zeros(len(self.names))
        self.scores: Tensor
        if config.learned and not fixed:
            self.scores = nn.Parameter(start)
        else:
            self.register_buffer("scores", start)

    def weights(self, present: Mapping[str, Tensor]) -> Tensor:
        """Weight of each modality's vote, [batch, num_modalities]; rows sum to 1 over what is present."""
        mask = torch.stack([present[name] for name in self.names], dim=1) & torch.isfinite(self.scores)
        return share_out(torch.nan_to_num(self.scores, neginf=0.0).expand(mask.shape), mask)

    def forward(self, logits: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Count the votes.

        Args:
            logits: Float [batch, k] by modality.
            present: Bool [batch] by modality.

        Returns:
            Float [batch, k], to be read as logits of the task; finite, also where nothing is present.
        """
        weights = self.weights(present)
        total = torch.zeros_like(logits[self.names[0]])
        for place, name in enumerate(self.names):
            said = torch.where(present[name][:, None], logits[name], torch.zeros_like(logits[name]))
            total = total + weights[:, place, None] * self._votes(said)
        if self.kind == "regression":
            return total
        there = weights.sum(dim=1, keepdim=True) > 0
        if self.kind == "class":
            return torch.where(there, total, 1.0).clamp(min=_SMALLEST).log()
        return torch.logit(torch.where(there, total, 0.5), _SMALLEST)

    def _votes(self, logits: Tensor) -> Tensor:
        if self.kind == "class":
            return functional.softmax(logits, dim=1)
        return logits if self.kind == "regression" else torch.sigmoid(logits)
