"""What fusions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from features.fusion.encoded import Encoded


class Fusion(nn.Module):
    """Encoded modalities, any subset of them, to one vector.

    What stands in the place of an absent modality never reaches the result, nor a gradient.

    Args:
        sizes: Size of each encoded modality, in order.
        size: Numbers of the result.
    """

    def __init__(self, sizes: Mapping[str, int], size: int) -> None:
        super().__init__()
        self.names = tuple(sizes)
        self.size = size

    def forward(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """Fuse a batch.

        Args:
            encoded: By modality.
            present: Bool [batch] by modality.

        Returns:
            Float [batch, self.size]; finite, also where nothing is present.
        """
        raise NotImplementedError

    def vectors(self, encoded: Mapping[str, Encoded], present: Mapping[str, Tensor]) -> Tensor:
        """Vectors of one size, [batch, num_modalities, size]; zeros where absent."""
        return torch.stack([masked(encoded[name].vector, present[name]) for name in self.names], dim=1)

    def masks(self, present: Mapping[str, Tensor]) -> Tensor:
        """Bool [batch, num_modalities]."""
        return torch.stack([present[name] for name in self.names], dim=1)


def masked(vector: Tensor, present: Tensor) -> Tensor:
    """A vector where it is present, zeros elsewhere: [batch, size]."""
    return torch.where(present[:, None], vector, torch.zeros_like(vector))


def share_out(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax of scores over what is present: [batch, n], rows sum to 1, or are zeros where nothing is."""
    filled = torch.where(mask, scores, -torch.inf)
    safe = torch.where(mask.any(dim=1, keepdim=True), filled, torch.zeros_like(scores))
    return torch.where(mask, torch.softmax(safe, dim=1), torch.zeros_like(scores))
