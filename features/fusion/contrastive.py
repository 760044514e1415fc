"""A contrastive loss that brings the modalities of one segment together, and apart from those of others."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from features.fusion.encoded import Encoded

_FEWEST = 2  # of one segment there is nothing to tell it from


def contrastive_loss(encoded: Mapping[str, Encoded], present: Mapping[str, Tensor], temperature: float) -> Tensor:
    """Symmetric InfoNCE: of each pair of modalities, which vector of one belongs to which of the other.

    Args:
        encoded: By modality, of one size.
        present: Bool [batch] by modality; a pair counts the rows where both are.
        temperature: Cosines are divided by it.

    Returns:
        Mean over the pairs that have two rows or more, a scalar with a graph; 0 where none has.

    Reference:
        van den Oord et al. (2018), arXiv:1807.03748; Radford et al. (2021), arXiv:2103.00020 (the symmetric form).
    """
    losses = []
    for one, other in combinations(encoded, 2):
        both = present[one] & present[other]
        if int(both.sum()) >= _FEWEST:
            left, right = (functional.normalize(encoded[name].vector[both], dim=1) for name in (one, other))
            scores = left @ right.T / temperature  # [rows, rows]; what belongs together stands on the diagonal
            truth = torch.arange(len(scores), device=scores.device)
            losses.append((functional.cross_entropy(scores, truth) + functional.cross_entropy(scores.T, truth)) / 2)
    if losses:
        return torch.stack(losses).mean()
    return torch.stack([item.vector[:0].sum() for item in encoded.values()]).sum()  # of no row: 0, whatever they hold
