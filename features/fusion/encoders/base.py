"""What encoders share: standardisation, embedded ids, masks over steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from features.errors import ModelError
from features.fusion.normalise import STD_FLOOR
from features.tokenizer.training import PAD_ID

if TYPE_CHECKING:
    from features.fusion.configs import EncoderConfig
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
        """Learn from the present rows of the training split, shape [num_rows, width]; of sequences, from all steps."""
        exact = values.double()
        std = exact.std(dim=0, correction=0)
        floor = (STD_FLOOR * std.quantile(0.5)).clamp(min=1e-6)
        self.mean.copy_(exact.mean(dim=0))
        self.std.copy_(torch.maximum(std, floor))

    def forward(self, values: Tensor) -> Tensor:
        """Standardise, shape [..., width]."""
        return ((values - self.mean) / self.std).clamp(-_LARGEST, _LARGEST)


class Encoder(nn.Module):
    """One modality's array to a vector of `size` numbers.

    Attributes:
        size: Numbers that it gives.
        standardise: By what vectors and steps are standardised first; None for pictures, patches and ids, and where
            the recipe says so.
    """

    def __init__(self, size: int, standardise: Standardise | None = None) -> None:
        super().__init__()
        self.size = size
        self.standardise = standardise

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Encode a batch.

        Args:
            values: [batch, *shape], finite where there is something.
            lengths: Int64 [batch], how many steps of a sequence are there, 0 where it is absent; what stands beyond
                them is not looked at. None for all else.

        Returns:
            Vectors [batch, size], finite also where nothing is there; of a sequence, its steps too.
        """
        raise NotImplementedError


class StepEncoder(Encoder):
    """An encoder of what is made of steps of `step_width` numbers: a vector, a sequence, or ids, looked up first.

    Args:
        config: Size, whether to standardise, embedding and vocabulary of ids.
        width: Numbers in a vector or a step; of ids, how many there are.
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        embedded = config.embedding > 0
        super().__init__(config.size, Standardise(width) if config.standardise and not embedded else None)
        self.embedding = nn.Embedding(config.vocabulary, config.embedding, PAD_ID) if embedded else None
        self.step_width = config.embedding if embedded else width

    def steps_of(self, values: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Steps [batch, num_steps, step_width], zeros where there is none, and their mask, bool [batch, num_steps].

        Raises:
            ModelError: An id is none of the vocabulary.
        """
        if self.embedding is not None:
            ids = values.long()
            _check_ids(ids, self.embedding.num_embeddings)
            return self.embedding(ids), ids != PAD_ID
        mask = steps_mask(values, lengths)
        standardised = values if self.standardise is None else self.standardise(values)
        return torch.where(mask[..., None], standardised, 0), mask

    def vector_of(self, values: Tensor, lengths: Tensor | None) -> Tensor:
        """One vector an example, [batch, step_width]: the mean over the steps where there are some."""
        if self.embedding is None and values.ndim == 2:
            return values if self.standardise is None else self.standardise(values)
        return masked_mean(*self.steps_of(values, lengths))


def steps_mask(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Which steps of sequences [batch, num_steps, ...] are there: bool [batch, num_steps]; all, without lengths."""
    places = torch.arange(values.shape[1], device=values.device)
    if lengths is None:
        return torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
    return places < lengths[:, None]


def masked_mean(steps: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps that are there, zeros where there is none: [batch, num_steps, size] to [batch, size]."""
    kept = torch.where(mask[..., None], steps, 0)
    return kept.sum(dim=1) / mask.sum(dim=1).clamp(min=1)[:, None]


def _check_ids(ids: Tensor, vocabulary: int) -> None:
    if not ids.numel():
        return
    least, largest = (int(end) for end in torch.aminmax(ids))
    if least < 0 or largest >= vocabulary:
        message = (
            f"id {least if least < 0 else largest} is none of the {vocabulary:,} (from 0) that the encoder embeds;"
        )
        message += " set its vocabulary to that of the tokenizer which made the ids, and train again"
        raise ModelError(message)
