from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from features.fusion.dataset import Inputs
from features.fusion.encoders import Standardise, build_encoder
from features.fusion.fusions import ConcatFusion
from features.fusion.model import Architecture, build_model, predict_probabilities
from features.fusion.recipe import EncoderConfig, FusionConfig

if TYPE_CHECKING:
    from features.fusion.model import FusionModel

WIDTHS = {"video": 12, "audio": 5}
PRIOR = (0.25, 0.75)


@pytest.fixture
def model() -> FusionModel:
    torch.manual_seed(0)
    config = EncoderConfig(size=6, dropout=0.5)
    made = build_model(Architecture(WIDTHS, dict.fromkeys(WIDTHS, config), FusionConfig(), 2))
    torch.nn.init.normal_(made.fusion.absent["audio"])
    return made.double().eval()


@pytest.fixture
def inputs() -> Inputs:
    random = np.random.default_rng(0)
    values = {name: random.normal(size=(50, width)).astype(np.float32) for name, width in WIDTHS.items()}
    present = {name: random.random(50) < 0.7 for name in WIDTHS}
    return Inputs(values, present, {})


def test_probabilities_sum_to_one_and_nothing_present_is_the_prior(model: FusionModel, inputs: Inputs) -> None:
    found = predict_probabilities([model], inputs, PRIOR)
    assert found.sum(axis=1) == pytest.approx(np.ones(50))
    assert found[~inputs.any_present()].tolist() == [list(PRIOR)] * int((~inputs.any_present()).sum())


def test_what_is_masked_is_irrelevant(model: FusionModel, inputs: Inputs) -> None:
    other = {
        name: np.where(inputs.present[name][:, None], values, np.float32(np.nan))
        for name, values in inputs.values.items()
    }
    changed = predict_probabilities([model], Inputs(other, inputs.present, {}), PRIOR)
    assert np.array_equal(changed, predict_probabilities([model], inputs, PRIOR))


def test_a_mask_is_not_a_vector_of_zeros(model: FusionModel, inputs: Inputs) -> None:
    everything = {name: np.ones(50, bool) for name in WIDTHS}
    zeros = Inputs({**inputs.values, "audio": np.zeros((50, 5), np.float32)}, everything, {})
    masked = Inputs(zeros.values, {**everything, "audio": np.zeros(50, bool)}, {})
    assert not np.allclose(predict_probabilities([model], zeros, PRIOR), predict_probabilities([model], masked, PRIOR))


def test_order_and_size_of_batches_do_not_show(model: FusionModel, inputs: Inputs) -> None:
    whole = predict_probabilities([model], inputs, PRIOR)
    order = np.random.default_rng(1).permutation(50)
    shuffled = predict_probabilities([model], inputs.take(order), PRIOR)
    one_by_one = [predict_probabilities([model], inputs.take(np.array([index])), PRIOR)[0] for index in range(50)]
    assert np.array_equal(shuffled.astype(np.float32), whole[order].astype(np.float32))
    assert np.array_equal(np.array(one_by_one).astype(np.float32), whole.astype(np.float32))


def test_concat_is_the_vectors_then_a_bit_each() -> None:
    fusion = ConcatFusion({"a": 2, "b": 1})
    torch.nn.init.constant_(fusion.absent["b"], 7.0)
    encoded = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([[5.0], [6.0]])}
    present = {"a": torch.tensor([True, True]), "b": torch.tensor([True, False])}
    assert fusion(encoded, present).tolist() == [[1.0, 2.0, 5.0, 1.0, 1.0], [3.0, 4.0, 7.0, 1.0, 0.0]]


def test_standardised_rows_have_mean_zero_and_deviation_one() -> None:
    values = torch.randn(500, 4) * torch.tensor([1.0, 10.0, 100.0, 0.0]) + 5
    layer = Standardise(4)
    layer.fit(values)
    found = layer(values)
    assert torch.allclose(found.mean(dim=0), torch.zeros(4), atol=1e-4)
    assert torch.allclose(found.std(dim=0)[:3], torch.ones(3), atol=2e-2)
    assert found[:, 3].abs().max() < 1e-3  # a constant stays one


@pytest.mark.parametrize("kind", ["mlp", "linear"])
def test_encoders_have_the_size_asked_for(kind: str) -> None:
    assert build_encoder(EncoderConfig(kind, 7, 0.1), 3)(torch.zeros(2, 3)).shape == (2, 7)
