"""What an encoder makes of a modality: one vector an example, and the steps of a sequence where it read one."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Encoded(NamedTuple):
    """An encoded modality of a batch.

    Attributes:
        vector: Float [batch, size].
        steps: Float [batch, num_steps, size]; None where the encoder read a vector or a picture.
        mask: Bool [batch, num_steps], True where there is a step; None where `steps` is.
    """

    vector: Tensor
    steps: Tensor | None = None
    mask: Tensor | None = None

    def as_steps(self) -> tuple[Tensor, Tensor]:
        """Steps and mask; a vector is a sequence of one step."""
        if self.steps is None or self.mask is None:
            return self.vector[:, None], self.vector.new_ones(len(self.vector), 1).bool()
        return self.steps, self.mask
