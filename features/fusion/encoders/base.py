"""What encoders share: standardisation, and the shape of an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from features.fusion.normalise import STD_FLOOR

if TYPE_CHECKING:
    from features.fusion.encoded import Encoded

_LARGEST = 8.0  # standardised values are cut here, so that an outlier cannot drown the rest


class Standardise(nn.Module):
    """Values minus the mean, over the standard deviation, both of the training split and kept as buffers.

    Args:
        width: Numbers in a vector.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, values: Tensor) -> None:
        """Learn from the present rows of the training split, shape [num_rows, width]."""
        exact = values.double()
        std = exact.std(dim=0, correction=0)
        floor = (STD_FLOOR * std.median()).clamp(min=1e-6)
        self.mean.copy_(exact.mean(dim=0))
        self.std.copy_(torch.maximum(std, floor))

    def forward(self, values: Tensor) -> Tensor:
        """Standardise, shape [..., width]."""
        return ((values - self.mean) / self.std).clamp(-_LARGEST, _LARGEST)


class Encoder(nn.Module):
    """One modality's array to a vector of `size` numbers.

    Args:
        size: Numbers that it gives.
        width: Numbers in a vector that is standardised; 0: nothing is (pictures, patches, ids).
    """

    def __init__(self, size: int, width: int = 0) -> None:
        super().__init__()
        self.size = size
        self.standardise = Standardise(width) if width else None

    def standardised(self, values: Tensor) -> Tensor:
        """Vectors as the training split's numbers have them; as they are where nothing is standardised."""
        return values if self.standardise is None else self.standardise(values)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Encode a batch.

        Args:
            values: [batch, *shape]; zeros where absent.
            lengths: Int64 [batch], steps of sequences that are there, 0 where absent; None for all else.

        Returns:
            Finite everywhere, also where absent.
        """
        raise NotImplementedError


def steps_mask(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Which steps are there: bool [batch, num_steps]."""
    places = torch.arange(values.shape[1], device=values.device)
    full = torch.full((len(values),), values.shape[1], device=values.device)
    return places < (full if lengths is None else lengths)[:, None]


def masked_mean(steps: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps that are there, zeros where there is none: [batch, num_steps, size] to [batch, size]."""
    kept = torch.where(mask[..., None], steps, 0)
    return kept.sum(dim=1) / mask.sum(dim=1).clamp(min=1)[:, None]
