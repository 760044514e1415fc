from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from features.fusion.augment import (
    Mixing,
    add_noise,
    augment_raw,
    crop,
    flip,
    mask_steps,
    mix,
    mixup_weights,
    rotate,
    spec_augment,
)
from features.fusion.configs import AugmentationConfig

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 200


def _random(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def _pictures(count: int = 8, height: int = 64, width: int = 64) -> Tensor:
    return torch.rand(count, height, width, 3, generator=_random(9))


def _patches(count: int = 8) -> Tensor:
    return torch.rand(count, 128, 128, generator=_random(9)) * 0.9 + 0.1  # none of them is 0


def _lengths(count: int) -> Tensor:
    return torch.arange(count) % 21


def _blob(height: int, width: int, down: float, across: float) -> Tensor:
    """A soft spot on black, at pixels from the middle: [height, width, 3]."""
    rows = torch.arange(height) - (height - 1) / 2 - down
    columns = torch.arange(width) - (width - 1) / 2 - across
    return torch.exp(-(rows[:, None] ** 2 + columns**2) / 8)[..., None].repeat(1, 1, 3)


def _spot(picture: Tensor) -> tuple[float, float]:
    """Where the light's centre is, in pixels from the middle: down, across."""
    height, width, _ = picture.shape
    light = picture[..., 0] / picture[..., 0].sum()
    down = (light.sum(dim=1) * (torch.arange(height) - (height - 1) / 2)).sum()
    return float(down), float((light.sum(dim=0) * (torch.arange(width) - (width - 1) / 2)).sum())


AUGMENTATIONS: dict[str, tuple[Callable[[], Tensor], Callable[[Tensor, float, Generator], Tensor]]] = {
    "noise": (lambda: torch.zeros(8, 5), add_noise),
    "steps": (
        lambda: torch.ones(8, 20, 3),
        lambda values, setting, generator: mask_steps(values, torch.full((len(values),), 20), setting, generator),
    ),
    "flip": (_pictures, flip),
    "rotate": (_pictures, lambda values, setting, generator: rotate(values, setting * 90, generator)),
    "crop": (_pictures, crop),
    "spec_augment": (
        _patches,
        lambda values, setting, generator: spec_augment(values, int(40 * setting), int(40 * setting), generator),
    ),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_each_augmentation_keeps(name: str) -> None:
    """The same generator gives the same result, 0 changes nothing; shape, kind, given tensor and range stay."""
    make, augment = AUGMENTATIONS[name]
    values = make()
    given = values.clone()
    found = augment(values, 0.5, _random(1))
    assert torch.equal(found, augment(values, 0.5, _random(1)))
    assert not torch.equal(found, augment(values, 0.5, _random(2)))
    assert torch.equal(augment(values, 0.0, _random(1)), values)
    assert torch.equal(values, given)
    assert (found.shape, found.dtype) == (values.shape, values.dtype)
    if name != "noise":
        assert found.min() >= 0
        assert found.max() <= 1


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_examples(name: str) -> None:
    make, augment = AUGMENTATIONS[name]
    assert augment(make()[:0], 0.5, _random()).shape == make()[:0].shape


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_example_draws_its_own_numbers(name: str) -> None:
    make, augment = AUGMENTATIONS[name]
    values = make()[:1].repeat(8, *[1] * (make().ndim - 1))
    found = augment(values, 0.5, _random(3))
    assert len(found.unique(dim=0)) > 1


def test_torch_s_own_generator_is_drawn_from_where_none_is_given() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        found = flip(_pictures(), 0.5)
    assert torch.equal(found, flip(_pictures(), 0.5, _random(4)))


def test_noise_has_its_deviation() -> None:
    found = add_noise(torch.full((20_000, 2), 3.0), torch.tensor([0.5, 0.0]), _random())
    assert found[:, 0].mean() == pytest.approx(3, abs=0.02)
    assert found[:, 0].std() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(found[:, 1], torch.full((20_000,), 3.0))


def test_hidden_steps_are_one_run_and_never_all() -> None:
    lengths = _lengths(COUNT)
    found = mask_steps(torch.ones(COUNT, 20, 2), lengths, 0.5, _random(), fill=torch.tensor([0.0, 7.0]))
    hidden = found[..., 0] == 0
    assert torch.equal(hidden, found[..., 1] == 7)
    for row, length in zip(hidden.tolist(), lengths.tolist(), strict=True):
        assert sum(row) <= length // 2
        assert not any(row[length:])
        places = [place for place, is_hidden in enumerate(row) if is_hidden]
        assert places == list(range(places[0], places[0] + len(places))) if places else True


def test_numbers_of_hidden_steps_are_even() -> None:
    found = mask_steps(torch.ones(2_000, 20, 1), torch.full((2_000,), 20), 0.2, _random())
    counts = (found == 0).sum(dim=(1, 2)).bincount()
    assert len(counts) == 5
    assert counts.min() > 320  # of 2,000, each expects 400 with a deviation of 18


def test_a_sequence_of_one_step_keeps_it() -> None:
    assert mask_steps(torch.ones(50, 3, 1), torch.ones(50).long(), 0.9, _random()).min() == 1


def test_ids_are_hidden_as_padding() -> None:
    ids = torch.arange(1, 11).repeat(30, 1)
    found = mask_steps(ids, torch.full((30,), 10), 0.5, _random())
    assert found.dtype == ids.dtype
    assert torch.equal(found[found != 0], ids[found != 0])
    assert (found == 0).any()


def test_mixup_with_known_shares() -> None:
    values = torch.tensor([[0.0, 10.0], [100.0, 20.0], [7.0, 7.0]])
    permutation, share = torch.tensor([1, 0, 2]), torch.tensor([0.75, 0.5, 0.6])
    found = mix(values, permutation, share)
    assert torch.allclose(found, torch.tensor([[25.0, 12.5], [50.0, 15.0], [7.0, 7.0]]))


def test_an_example_is_mixed_only_in_modalities_that_both_have() -> None:
    values, permutation, share = torch.tensor([[0.0], [8.0], [4.0]]), torch.tensor([1, 2, 0]), torch.full((3,), 0.5)
    found = mix(values, permutation, share, present=torch.tensor([True, False, True]))
    assert found.tolist() == [[0.0], [8.0], [2.0]]


def test_steps_that_the_partner_lacks_are_not_mixed() -> None:
    values = torch.tensor([[[4.0], [4.0], [4.0]], [[8.0], [0.0], [0.0]]])
    found = mix(values, torch.tensor([1, 0]), torch.full((2,), 0.5), lengths=torch.tensor([3, 1]))
    assert found[..., 0].tolist() == [[6.0, 4.0, 4.0], [6.0, 0.0, 0.0]]


def test_ids_are_not_mixed() -> None:
    ids = torch.tensor([[3, 4], [5, 6]])
    assert torch.equal(mix(ids, torch.tensor([1, 0]), torch.full((2,), 0.5)), ids)


def test_pictures_stay_in_their_range() -> None:
    pictures = _pictures()
    mixing = mixup_weights([torch.ones(8).bool()], 1.0, _random())
    found = mix(pictures, *mixing)
    assert 0 <= found.min() <= found.max() <= 1


def test_shares_are_the_larger_part_of_a_beta() -> None:
    mixing = mixup_weights([torch.ones(20_000).bool()], 2.0, _random())
    assert mixing.share.min() >= 0.5
    folded = 0.5 + 3 / 16  # the mean of max(x, 1 - x) for Beta(2, 2)
    assert mixing.share.mean() == pytest.approx(folded, abs=0.005)
    assert torch.equal(mixing.permutation.sort().values, torch.arange(20_000))


def test_nothing_in_common_nothing_mixed() -> None:
    """Nor are the targets: its share is 1."""
    here = torch.arange(40) % 2 == 0
    mixing = mixup_weights([here, ~here], 1.0, _random())
    alone = here != here[mixing.permutation]
    assert alone.any()
    assert torch.equal(mixing.share == 1, alone)


def test_alpha_of_zero_mixes_nothing() -> None:
    mixing = mixup_weights([torch.ones(5).bool()], 0.0, _random())
    values = torch.rand(5, 3)
    assert torch.equal(mix(values, *mixing), values)
    assert torch.equal(mixing.own(torch.ones(5)), torch.ones(5))
    assert torch.equal(mixing.partner(torch.ones(5)), torch.zeros(5))


def test_loss_weights_of_a_mixed_batch() -> None:
    mixing = Mixing(torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))
    assert mixing.own(torch.tensor([2.0, 4.0])).tolist() == [1.5, 2.0]
    assert mixing.partner(torch.tensor([2.0, 4.0])).tolist() == [1.0, 1.0]


def test_mirrored_twice_is_the_picture() -> None:
    pictures = _pictures()
    once = flip(pictures, 1.0, _random())
    assert torch.equal(once, pictures[:, :, range(63, -1, -1)])
    assert torch.equal(flip(once, 1.0, _random()), pictures)


def test_so_many_are_mirrored() -> None:
    picture = torch.linspace(0, 1, 4)[None, :, None].repeat(1, 1, 3)
    found = flip(picture.repeat(2_000, 1, 1, 1), 0.3, _random())
    assert (found[:, 0, 0, 0] == 1).float().mean() == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 64)])
def test_a_turned_spot_stays_at_its_distance_and_within_its_angle(height: int, width: int) -> None:
    down, across = -12.0, 9.0
    found = rotate(_blob(height, width, down, across).repeat(50, 1, 1, 1), 40, _random())
    before, angles = math.atan2(down, across), []
    for picture in found:
        y, x = _spot(picture)
        assert math.hypot(y, x) == pytest.approx(15, abs=0.15)
        angles.append(math.degrees(math.atan2(y, x) - before))
    assert -40.5 <= min(angles) < -25
    assert 25 < max(angles) <= 40.5


def test_the_border_goes_on_outside() -> None:
    assert torch.allclose(rotate(torch.full((20, 64, 64, 3), 0.6), 180, _random()), torch.tensor(0.6), atol=1e-6)


def test_a_crop_magnifies_a_ramp_and_stays_inside() -> None:
    """A linear ramp stays one: flatter by what was cut, and within the picture."""
    ramp = torch.linspace(0, 1, 64)[None, None, :, None].repeat(COUNT, 64, 1, 3)
    found = crop(ramp, 0.4, _random())[:, 32, :, 0]
    kept = (found[:, 60] - found[:, 3]) / (ramp[:, 32, 60, 0] - ramp[:, 32, 3, 0])
    assert 0.6 <= kept.min() < 0.65
    assert 0.95 < kept.max() <= 1 + 1e-4
    steps = found[:, 4:60].diff(dim=1)
    assert (steps.max(dim=1).values - steps.min(dim=1).values).max() < 1e-4


def test_a_crop_is_somewhere_on_both_axes() -> None:
    found = crop(_blob(64, 64, 0, 0).repeat(COUNT, 1, 1, 1), 0.5, _random())
    spots = np.array([_spot(picture) for picture in found])
    assert (np.abs(spots.mean(axis=0)) < 2).all()
    assert (spots.std(axis=0) > 4).all()
    assert abs(np.corrcoef(spots.T)[0, 1]) < 0.3


def test_spec_augment_hides_one_run_of_bands_and_one_of_frames() -> None:
    found = spec_augment(_patches(COUNT), 20, 30, _random())
    bands, frames = (found == 0).all(dim=2), (found == 0).all(dim=1)
    assert torch.equal(found == 0, bands[:, :, None] | frames[:, None, :])
    for hidden, most in ((bands, 20), (frames, 30)):
        counts = hidden.sum(dim=1)
        assert (counts.min(), counts.max()) == (0, most)
        assert (hidden[:, 1:] != hidden[:, :-1]).sum(dim=1).max() <= 2  # one run


def test_bands_alone() -> None:
    found = spec_augment(_patches(), 40, 0, _random())
    assert not (found == 0).all(dim=1).any()


def test_raw_inputs_are_told_by_their_shape() -> None:
    config = AugmentationConfig(flip=1, rotation_degrees=10, crop=0.2, frequency_mask=30, patch_time_mask=30)
    pictures, patches, vectors = _pictures(), _patches(), torch.rand(8, 5)
    assert torch.equal(augment_raw(config, (128, 128), patches, _random(1)), spec_augment(patches, 30, 30, _random(1)))
    generator = _random(1)
    turned = crop(rotate(flip(pictures, 1, generator), 10, generator), 0.2, generator)
    assert torch.equal(augment_raw(config, (64, 64, 3), pictures, _random(1)), turned)
    assert augment_raw(config, (5,), vectors, _random(1)) is vectors
    assert augment_raw(AugmentationConfig(), (64, 64, 3), pictures, _random(1)) is pictures
