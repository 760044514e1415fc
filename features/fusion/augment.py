"""Augmentation: what training does to its inputs, so that a model does not learn them by heart.

Pure functions of a batch and a generator: the same state of the generator gives the same result, each example draws its
own numbers, and a setting of 0 changes nothing. Without a generator they draw from torch's own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Generator

    from features.fusion.configs import AugmentationConfig


class Mixing(NamedTuple):
    """Which examples of a batch are mixed, and how much.

    The loss of a mixed batch is share * loss(targets) + (1 - share) * loss(targets[permutation]), example by example:
    its own targets with `own` weights, its partner's with `partner` weights (`losses.blend` joins the two).

    Attributes:
        permutation: Int64 [batch], place of each one's partner.
        share: Float [batch] in [0.5, 1], what is its own; 1 where it is left as it is.
    """

    permutation: Tensor
    share: Tensor

    def own(self, weights: Tensor) -> Tensor:
        """Loss weights of the examples' own targets, of the weights of their labels: [batch]."""
        return weights * self.share

    def partner(self, weights: Tensor) -> Tensor:
        """Loss weights of their partners' targets: [batch]."""
        return weights[self.permutation] * (1 - self.share)


def add_noise(values: Tensor, deviation: float | Tensor, generator: Generator | None = None) -> Tensor:
    """Add Gaussian noise.

    Args:
        values: Float [batch, ...].
        deviation: Of the noise, at least 0; for vectors that are not standardised yet, the share of their own standard
            deviation: [width].
        generator: Draws the numbers.

    Reference:
        Bishop (1995), doi:10.1162/neco.1995.7.1.108.
    """
    if not torch.as_tensor(deviation).any():
        return values
    device = None if generator is None else generator.device
    noise = torch.randn(values.shape, generator=generator, device=device, dtype=values.dtype)
    return values + noise.to(values.device) * deviation


def mixup_weights(present: Iterable[Tensor], alpha: float, generator: Generator | None = None) -> Mixing:
    """Draw a partner for each example, and how much of it is its own: the larger part of Beta(alpha, alpha).

    An example that has no modality in common with its partner is left as it is, and so are its targets. As the larger
    part is its own, it keeps its own mask, place and media.

    Args:
        present: Bool [batch] of each modality that can be mixed (ids cannot).
        alpha: At least 0; 0: nothing is mixed.
        generator: Draws the numbers.

    Reference:
        Zhang et al. (2018), arXiv:1710.09412 (mixup); Berthelot et al. (2019), arXiv:1905.02249 (the larger part).
    """
    masks = torch.stack(list(present))
    count = masks.shape[1]
    device = None if generator is None else generator.device
    if not alpha:
        return Mixing(torch.arange(count, device=masks.device), torch.ones(count, device=masks.device))
    permutation = torch.randperm(count, generator=generator, device=device).to(masks.device)
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    drawn = np.random.default_rng(seed).beta(alpha, alpha, count)  # torch's own takes no generator
    share = torch.from_numpy(np.maximum(drawn, 1 - drawn)).to(masks.device, torch.float32)
    in_common = (masks & masks[:, permutation]).any(dim=0)
    return Mixing(permutation, torch.where(in_common, share, 1.0))


def mix(
    values: Tensor, permutation: Tensor, share: Tensor, present: Tensor | None = None, lengths: Tensor | None = None
) -> Tensor:
    """Mix each example's array of a modality with its partner's, where both have that modality.

    Args:
        values: Float [batch, ...]; ids, which are integers, cannot be mixed and stay.
        permutation: See `Mixing`.
        share: See `Mixing`.
        present: Bool [batch], who has the modality; by default all.
        lengths: Int64 [batch], steps of sequences: those that the partner lacks are not mixed.

    Returns:
        Of the same shape; the masks and lengths of the examples hold for it.

    Reference:
        Zhang et al. (2018), arXiv:1710.09412.
    """
    if not values.is_floating_point():
        return values
    both = torch.ones(len(values), dtype=torch.bool, device=values.device) if present is None else present
    both = _as_columns(both & both[permutation], values)
    if lengths is not None:
        steps = torch.arange(values.shape[1], device=values.device)
        both = both & (steps < torch.minimum(lengths, lengths[permutation])[:, None]).reshape(
            *values.shape[:2], *[1] * (values.ndim - 2)
        )
    own = _as_columns(share, values).to(values.dtype)
    return torch.where(both, own * values + (1 - own) * values[permutation], values)


def mask_steps(
    values: Tensor,
    lengths: Tensor,
    most_share: float,
    generator: Generator | None = None,
    *,
    fill: float | Tensor = 0.0,
) -> Tensor:
    """Hide a run of neighbouring steps of each sequence, at least one step staying; SpecAugment's time mask.

    Args:
        values: Float [batch, num_steps, width], or ids [batch, num_steps].
        lengths: Int64 [batch], steps that are there.
        most_share: Share of them that is hidden at most, in [0, 1).
        generator: Draws the numbers: the length of each run evenly up to the most, then its start.
        fill: What hidden steps become. They shall be zeros after standardisation, as if they were the training split's
            mean: where the model standardises, that mean, [width]; of ids the 0 of padding.

    Reference:
        Park et al. (2019), arXiv:1904.08779.
    """
    if not most_share:
        return values
    most = torch.floor(lengths * most_share).long().minimum((lengths - 1).clamp(min=0))
    hidden = _run(values.shape[1], lengths, most, generator)
    filling = torch.as_tensor(fill, dtype=values.dtype, device=values.device)
    return torch.where(hidden.reshape(*hidden.shape, *[1] * (values.ndim - 2)), filling, values)


def flip(pictures: Tensor, chance: float, generator: Generator | None = None) -> Tensor:
    """Mirror pictures, left to right.

    Args:
        pictures: Float [batch, height, width, 3].
        chance: Of each to be mirrored, in [0, 1].
        generator: Draws the numbers.
    """
    if not chance:
        return pictures
    mirrored = _draw(pictures, generator) < chance
    return torch.where(_as_columns(mirrored, pictures), pictures.flip(2), pictures)


def rotate(pictures: Tensor, most_degrees: float, generator: Generator | None = None) -> Tensor:
    """Turn pictures about their middle, bilinear; what comes in from outside continues the border.

    Args:
        pictures: Float [batch, height, width, 3] in [0, 1].
        most_degrees: Each is turned by an angle drawn evenly from plus to minus this.
        generator: Draws the numbers.
    """
    if not most_degrees:
        return pictures
    angles = (2 * _draw(pictures, generator) - 1) * math.radians(most_degrees)
    cosines, sines, zeros = torch.cos(angles), torch.sin(angles), torch.zeros_like(angles)
    aspect = pictures.shape[1] / pictures.shape[2]  # the grid goes from -1 to 1 both ways
    rows = [torch.stack([cosines, -sines * aspect, zeros], 1), torch.stack([sines / aspect, cosines, zeros], 1)]
    return _sample(pictures, torch.stack(rows, dim=1))


def crop(pictures: Tensor, most_share: float, generator: Generator | None = None) -> Tensor:
    """Cut pictures at random, and resize what is left to the whole, bilinear.

    Args:
        pictures: Float [batch, height, width, 3] in [0, 1].
        most_share: Share of each side that is cut off at most, in [0, 1); how much is drawn evenly, then where.
        generator: Draws the numbers.
    """
    if not most_share:
        return pictures
    cut = _draw(pictures, generator) * most_share
    across, down = ((2 * _draw(pictures, generator) - 1) * cut for _ in range(2))
    zeros = torch.zeros_like(cut)
    rows = [torch.stack([1 - cut, zeros, across], dim=1), torch.stack([zeros, 1 - cut, down], dim=1)]
    return _sample(pictures, torch.stack(rows, dim=1))


def spec_augment(patches: Tensor, frequency_mask: int, time_mask: int, generator: Generator | None = None) -> Tensor:
    """Hide a run of bands and a run of frames of each mel patch: they become 0, which is silence.

    Args:
        patches: Float [batch, num_bands, num_frames].
        frequency_mask: Bands that are hidden at most; how many is drawn evenly, then where.
        time_mask: Frames, likewise.
        generator: Draws the numbers.

    Reference:
        Park et al. (2019), arXiv:1904.08779; one mask of each kind, no time warping.
    """
    result = patches
    for axis, most in ((1, frequency_mask), (2, time_mask)):
        if most:
            size = torch.full((len(patches),), patches.shape[axis], device=patches.device)
            hidden = _run(patches.shape[axis], size, size.clamp(max=most), generator)
            result = result.masked_fill(hidden[:, :, None] if axis == 1 else hidden[:, None, :], 0)
    return result


def augment_raw(
    config: AugmentationConfig, shape: Sequence[int], values: Tensor, generator: Generator | None = None
) -> Tensor:
    """Augment a raw input by its shape: pictures [64, 64, 3] and mel patches [128, 128]; others stay.

    Args:
        config: How.
        shape: Of one example's array.
        values: Float [batch, *shape] in [0, 1]; a sequence of features is none, whatever its shape.
        generator: Draws the numbers.

    Returns:
        Of the same shape, in [0, 1].
    """
    if len(shape) == 3:
        turned = rotate(flip(values, config.flip, generator), config.rotation_degrees, generator)
        return crop(turned, config.crop, generator)
    if len(shape) == 2:
        return spec_augment(values, config.frequency_mask, config.patch_time_mask, generator)
    return values


def _sample(pictures: Tensor, transforms: Tensor) -> Tensor:
    """Pictures in [0, 1], each read at the places that its affine transform, [2, 3] of [batch, 2, 3], gives."""
    if not len(pictures):
        return pictures  # affine_grid refuses it
    channels_first = pictures.permute(0, 3, 1, 2)
    grid = functional.affine_grid(transforms, list(channels_first.shape), align_corners=False)
    sampled = functional.grid_sample(channels_first, grid, padding_mode="border", align_corners=False)
    return sampled.clamp(0, 1).permute(0, 2, 3, 1).contiguous()


def _run(size: int, lengths: Tensor, most: Tensor, generator: Generator | None) -> Tensor:
    """A run of neighbours of each example, of a length drawn evenly from 0 to `most`: bool [batch, size]."""
    width = torch.floor(_draw(lengths, generator) * (most + 1)).long().minimum(most)
    start = torch.floor(_draw(lengths, generator) * (lengths - width + 1)).long().minimum(lengths - width)
    places = torch.arange(size, device=lengths.device)
    return (places >= start[:, None]) & (places < (start + width)[:, None])


def _draw(like: Tensor, generator: Generator | None) -> Tensor:
    """A number in [0, 1) for each example of a batch, on its device: [batch]."""
    device = None if generator is None else generator.device
    dtype = like.dtype if like.is_floating_point() else torch.float64
    return torch.rand(len(like), generator=generator, device=device, dtype=dtype).to(like.device)


def _as_columns(of_each: Tensor, values: Tensor) -> Tensor:
    """A number of each example so that it goes with all of its array: [batch, 1, ...]."""
    return of_each.reshape(-1, *[1] * (values.ndim - 1))
