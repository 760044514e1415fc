"""Self-attention over steps, as encoders and contexts use it, and the positions that tell steps apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_LONGEST_WAVE = 10_000.0


class SelfAttention(nn.Module):
    """Transformer blocks over the steps that are there, normalised before each part: [batch, num_steps, size].

    Args:
        size: Numbers in a step.
        heads: Attention heads; they divide `size`.
        layers: Blocks, each with first weights of its own.
        dropout: In training.

    Reference:
        Vaswani et al. (2017), arXiv:1706.03762; Xiong et al. (2020), arXiv:2002.04745 (the order of normalisation).
    """

    def __init__(self, size: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(size, heads, 2 * size, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Let each step look at all that are there.

        Args:
            steps: Float [batch, num_steps, size], finite everywhere.
            mask: Bool [batch, num_steps].

        Returns:
            Float [batch, num_steps, size], zeros where there is no step.
        """
        steps = steps + sinusoidal_positions(steps.shape[1], steps.shape[2]).to(steps)
        hidden = ~attended(mask)
        for block in self.blocks:
            steps = block(steps, src_key_padding_mask=hidden)
        return torch.where(mask[..., None], self.norm(steps), 0)


def attended(mask: Tensor) -> Tensor:
    """The mask, with all steps of what has none: of attention over nothing, some kernels make NaN."""
    return mask | ~mask.any(dim=1, keepdim=True)


def sinusoidal_positions(num_steps: int, size: int) -> Tensor:
    """Sine and cosine of each place, of waves from 2 pi to 10,000 * 2 pi long: [num_steps, size].

    Reference:
        Vaswani et al. (2017), arXiv:1706.03762, section 3.5.
    """
    places = torch.arange(num_steps)[:, None]
    rates = torch.exp(torch.arange(0, size, 2) * (-math.log(_LONGEST_WAVE) / size))
    result = torch.zeros(num_steps, size)
    result[:, 0::2] = torch.sin(places * rates)
    result[:, 1::2] = torch.cos(places * rates)[:, : size // 2]
    return result
