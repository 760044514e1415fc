"""Encoders against torch, numpy and themselves: padding, order and size of a batch change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.errors import ConfigError, ModelError
from features.fusion.configs import ENCODERS, EncoderConfig
from features.fusion.encoders import Encoder, build_encoder
from features.fusion.encoders.attention import sinusoidal_positions

NAN = float("nan")
SEQUENCES = ("cnn", "lstm", "gru", "transformer")
SHAPES = {"vector": (5,), "sequence": (6, 5), "picture": (64, 64, 3), "patch": (128, 128), "ids": (6,)}
CASES = [
    *[(kind, "vector") for kind in ("linear", "mlp")],
    *[(kind, "sequence") for kind in ENCODERS],
    *[(kind, "ids") for kind in ENCODERS],
    ("cnn", "picture"),
    ("cnn", "patch"),
]


def _config(kind: str, what: str = "vector", **changes: object) -> EncoderConfig:
    embedding = {"embedding": 4, "vocabulary": 20} if what == "ids" else {}
    raw = {"filters": 2, "layers": 3} if what in ("picture", "patch") else {"filters": 6}
    return EncoderConfig(kind, **{"size": 8, "heads": 2, **raw, **embedding, **changes})


def _encoder(kind: str, what: str, **changes: object) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(_config(kind, what, **changes), SHAPES[what]).double().eval()


def _batch(what: str, count: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Values of `count` examples, some of no length, and the lengths of sequences."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 7, (count,), generator=generator)
    if what == "ids":
        ids = torch.randint(1, 20, (count, 6), generator=generator)
        return torch.where(torch.arange(6) < lengths[:, None], ids, 0).int(), None
    draw = torch.rand if what in ("picture", "patch") else torch.randn
    values = draw(count, *SHAPES[what], generator=generator, dtype=torch.float64)
    return values, lengths if what == "sequence" else None


def _some(values: Tensor, lengths: Tensor | None, rows: Tensor) -> tuple[Tensor, Tensor | None]:
    return values[rows], None if lengths is None else lengths[rows]


@pytest.mark.parametrize(("kind", "what"), CASES)
def test_an_encoder_gives_its_size_finite_and_trains(kind: str, what: str) -> None:
    encoder = _encoder(kind, what).train()
    values, lengths = _batch(what, 7)
    found = encoder(values, lengths)
    assert found.vector.shape == (7, encoder.size)
    assert encoder.size == 8
    assert torch.isfinite(found.vector).all()
    if found.steps is not None and found.mask is not None:
        assert kind in SEQUENCES
        assert found.steps.shape == (7, 6, 8)
        assert found.mask.sum(dim=1).tolist() == (lengths if lengths is not None else (values != 0).sum(dim=1)).tolist()
        assert not found.steps[~found.mask].any()
    found.vector.square().sum().backward()
    assert all(
        parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in encoder.parameters()
    )


@pytest.mark.parametrize(("kind", "what"), CASES)
def test_rows_do_not_see_each_other(kind: str, what: str) -> None:
    encoder = _encoder(kind, what)
    values, lengths = _batch(what, 9 if what in ("picture", "patch") else 64)
    with torch.inference_mode():
        whole = encoder(values, lengths).vector
        order = torch.randperm(len(values), generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(encoder(*_some(values, lengths, order)).vector, whole[order], rtol=0, atol=1e-12)
        for size in (1, 7):
            parts = [encoder(*_some(values, lengths, rows)).vector for rows in torch.arange(len(values)).split(size)]
            torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("padding", [NAN, 1e30, -float("inf")])
def test_what_stands_beyond_a_sequence_is_not_looked_at(kind: str, padding: float) -> None:
    encoder = _encoder(kind, "sequence", layers=2)
    values, lengths = _batch("sequence", 7)
    assert lengths is not None
    assert 0 in lengths
    beyond = torch.arange(6) >= lengths[:, None]
    dirty = torch.where(beyond[..., None], padding, values)
    expected, found = encoder(values, lengths), encoder(dirty, lengths)
    assert torch.equal(found.vector, expected.vector)
    if found.steps is not None and expected.steps is not None:
        assert torch.equal(found.steps, expected.steps)
    gradients = torch.autograd.grad(found.vector.sum(), list(encoder.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    longer = torch.cat([dirty, torch.full((7, 3, 5), padding)], dim=1)
    torch.testing.assert_close(encoder(longer, lengths).vector, expected.vector, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ENCODERS)
def test_without_lengths_all_steps_are_there(kind: str) -> None:
    encoder = _encoder(kind, "sequence")
    values, _ = _batch("sequence", 3)
    assert torch.equal(encoder(values, None).vector, encoder(values, torch.full((3,), 6)).vector)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True)])
def test_a_recurrent_encoder_is_torchs_on_the_sequence_without_padding(
    kind: str, layers: int, bidirectional: bool
) -> None:
    encoder = _encoder(kind, "sequence", layers=layers, bidirectional=bidirectional, standardise=False)
    values, lengths = _batch("sequence", 7)
    assert lengths is not None
    found = encoder(values, lengths)
    for row in range(7):
        if not lengths[row]:
            assert not found.vector[row].any()
            continue
        output, state = encoder.network(values[row : row + 1, : lengths[row]])
        hidden = state[0] if kind == "lstm" else state
        last = torch.cat([hidden[-2], hidden[-1]], dim=1) if bidirectional else hidden[-1]
        joined = encoder.joined(last) if bidirectional else last
        torch.testing.assert_close(found.vector[row], joined[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(found.steps[row, : lengths[row]], encoder.joined(output)[0], rtol=0, atol=1e-12)


def test_a_transformer_is_torchs_on_the_sequence_without_padding() -> None:
    encoder = _encoder("transformer", "sequence", layers=2, standardise=False)
    values, lengths = _batch("sequence", 7)
    assert lengths is not None
    found = encoder(values, lengths).vector
    for row in range(7):
        steps = encoder.project(values[row : row + 1, : lengths[row]])
        steps = steps + sinusoidal_positions(int(lengths[row]), 8)
        for block in encoder.network.blocks:
            steps = block(steps) if lengths[row] else steps
        expected = encoder.network.norm(steps).mean(dim=1)[0] if lengths[row] else torch.zeros(8)
        torch.testing.assert_close(found[row], expected.double(), rtol=0, atol=1e-12)


def test_a_convolution_along_time_finds_a_known_pattern() -> None:
    encoder = build_encoder(EncoderConfig("cnn", 1, 0, filters=1, kernel=3, standardise=False), (8, 1)).double().eval()
    with torch.no_grad():
        convolution = encoder.convolutions[0]
        convolution.weight.copy_(torch.tensor([[[1.0, -2.0, 1.0]]]))
        convolution.bias.zero_()
        encoder.last.weight.fill_(2)
        encoder.last.bias.fill_(1)
    signal = torch.tensor([[0, 0, 5, 0, 0, 9, 9, 9]], dtype=torch.float64)[..., None]
    # The second difference is largest beside a peak, 5; the 9s lie beyond the end, and so would theirs.
    found = encoder(signal, torch.tensor([5])).vector
    torch.testing.assert_close(found, 2 * functional.gelu(torch.tensor([[5.0]], dtype=torch.float64)) + 1)
    whole = encoder(signal, torch.tensor([8])).vector
    torch.testing.assert_close(whole, 2 * functional.gelu(torch.tensor([[9.0]], dtype=torch.float64)) + 1)


@pytest.mark.parametrize("what", ["picture", "patch"])
def test_a_convolution_of_the_plane_averages_and_pools(what: str) -> None:
    encoder = build_encoder(EncoderConfig("cnn", 1, 0, filters=1, kernel=3, layers=1), SHAPES[what]).double().eval()
    convolution, _, _, _, _, linear = encoder.layers
    with torch.no_grad():
        convolution.weight.fill_(1 / convolution.weight[0].numel())
        convolution.bias.zero_()
        linear.weight.fill_(1)
        linear.bias.fill_(-1)
    values, _ = _batch(what, 1)
    plane = values[0].numpy()
    plane = plane.mean(axis=2) if plane.ndim == 3 else plane
    around = np.pad(plane, 1)
    side = len(plane)
    mean = sum(around[i : i + side, j : j + side] for i in range(3) for j in range(3)) / 9
    pooled = mean.reshape(side // 2, 2, side // 2, 2).max(axis=(1, 3))
    assert encoder(values).vector.item() == pytest.approx(pooled.sum() - 1, rel=1e-12)


def test_the_joint_networks_encoders_have_the_shapes_that_the_recipe_states() -> None:
    text = build_encoder(EncoderConfig("lstm", 32, 0, embedding=16, vocabulary=10_000), (100,))
    assert text.embedding.weight.shape == (10_000, 16)
    assert text.network.weight_hh_l0.shape == (4 * 32, 32)
    picture = build_encoder(EncoderConfig("cnn", 32, 0), (64, 64, 3))
    assert [tuple(layer.weight.shape) for layer in picture.layers if hasattr(layer, "weight")] == [
        (32, 3, 3, 3),
        (32, 32 * 32 * 32),
    ]
    assert picture.standardise is None
    assert text.standardise is None


@pytest.mark.parametrize("kind", ENCODERS)
def test_more_padding_of_ids_changes_nothing(kind: str) -> None:
    encoder = _encoder(kind, "ids", layers=2)
    ids, _ = _batch("ids", 7)
    longer = torch.cat([ids, torch.zeros(7, 3, dtype=torch.int32)], dim=1)
    torch.testing.assert_close(encoder(longer).vector, encoder(ids).vector, rtol=0, atol=1e-12)


def test_ids_are_looked_up_and_padding_is_not() -> None:
    encoder = _encoder("lstm", "ids")
    ids = torch.tensor([[3, 7, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    _, (hidden, _) = encoder.network(encoder.embedding.weight[[3, 7, 2]][None])
    found = encoder(ids).vector
    torch.testing.assert_close(found[0], hidden[0, 0], rtol=0, atol=1e-12)
    assert not found[1].any()
    mean = _encoder("linear", "ids")
    expected = mean.layers(mean.embedding.weight[[3, 7, 2]].mean(dim=0))
    torch.testing.assert_close(mean(ids).vector[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("wrong", [20, -1])
def test_an_id_outside_the_vocabulary_is_named(wrong: int) -> None:
    with pytest.raises(ModelError, match=rf"id {wrong} is none of the 20 .*vocabulary"):
        _encoder("lstm", "ids")(torch.tensor([[3, wrong, 0, 0, 0, 0]]))


def test_linear_and_mlp_average_a_sequence_first() -> None:
    values, lengths = _batch("sequence", 7)
    assert lengths is not None
    for kind in ("linear", "mlp"):
        encoder = _encoder(kind, "sequence")
        for row in range(7):
            mean = values[row, : lengths[row]].mean(dim=0) if lengths[row] else torch.zeros(5, dtype=torch.float64)
            torch.testing.assert_close(
                encoder(values, lengths).vector[row], encoder(mean[None]).vector[0], rtol=0, atol=1e-12
            )


@pytest.mark.parametrize(
    ("changes", "widths"),
    [
        ({}, [(8, 5)]),
        ({"hidden": 16}, [(16, 5), (8, 16)]),
        ({"layers": 2}, [(8, 5), (8, 8)]),
        ({"hidden": 16, "layers": 2}, [(16, 5), (16, 16), (8, 16)]),
    ],
)
def test_an_mlp_has_the_layers_that_are_asked_for(changes: dict[str, int], widths: list[tuple[int, int]]) -> None:
    encoder = _encoder("mlp", "vector", **changes)
    assert [tuple(layer.weight.shape) for layer in encoder.layers if isinstance(layer, nn.Linear)] == widths


def test_a_sequence_is_standardised_step_by_step() -> None:
    encoder = _encoder("lstm", "sequence")
    plain = _encoder("lstm", "sequence", standardise=False)
    values, lengths = _batch("sequence", 7)
    assert encoder.standardise is not None
    encoder.standardise.fit(values.flatten(0, 1) * 3 + 1)
    scaled = encoder.standardise(values)
    assert plain.standardise is None
    torch.testing.assert_close(encoder(values, lengths).vector, plain(scaled, lengths).vector, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "what"), CASES)
def test_the_same_seed_gives_the_same_weights(kind: str, what: str) -> None:
    one, other = _encoder(kind, what).state_dict(), _encoder(kind, what).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (EncoderConfig("lstm"), (5,), r"'lstm' does not read arrays of shape \[5\].*linear or mlp"),
        (EncoderConfig("linear"), (64, 64, 3), r"'linear' does not read arrays of shape \[64, 64, 3\].*cnn"),
        (EncoderConfig("cnn"), (32, 32, 3), r"'cnn' does not read"),
        (EncoderConfig("gru", embedding=4, vocabulary=9), (6, 5), r"does not read ids of shape \[6, 5\]"),
        (EncoderConfig("gru", embedding=4), (6,), r"vocabulary of 0"),
        (EncoderConfig("cnn", kernel=4), (6, 5), r"kernel of 4 has no middle; write 3 or 5"),
        (EncoderConfig("cnn", layers=7), (64, 64, 3), r"7 layers.* nothing of 64 x 64; write layers = 6"),
        (EncoderConfig("transformer", 10, heads=4), (6, 5), r"4 heads do not divide an encoder's size of 10"),
    ],
)
def test_what_cannot_be_built_says_so(config: EncoderConfig, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_encoder(config, shape)


def test_a_sequence_of_a_patchs_shape_is_not_taken_for_one() -> None:
    encoder = build_encoder(EncoderConfig("cnn", 4, filters=2), (128, 128))
    with pytest.raises(ConfigError, match="another max_len than 128"):
        encoder(torch.zeros(2, 128, 128), torch.tensor([3, 4]))
