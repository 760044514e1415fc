from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from features.fusion.configs import FUSIONS, ContextConfig, EncoderConfig, FusionConfig
from features.fusion.examples import Inputs, Place
from features.fusion.model import Architecture, FusionModel, TaskShape
from features.fusion.prediction import predict_outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES = {"video": (12,), "audio": (7, 5), "text": (6,)}
TASKS = (
    TaskShape("mood", "class", 3),
    TaskShape("loud", "binary", 2),
    TaskShape("seen", "multilabel", 4),
    TaskShape("age", "regression", 0),
)
PRIORS = {"mood": (0.2, 0.3, 0.5), "loud": (0.25, 0.75), "seen": (0.1, 0.2, 0.3, 0.4), "age": (41.5,)}
COUNT = 50


def made(fusion: str = "concat", context: str = "none") -> FusionModel:
    torch.manual_seed(0)
    plain, steps = EncoderConfig(size=8, dropout=0.5), EncoderConfig("lstm", size=8, dropout=0.5)
    encoders = {"video": plain, "audio": steps, "text": plain}
    config = FusionConfig(fusion, size=8, heads=2)
    model = FusionModel(Architecture(SHAPES, encoders, config, TASKS, ContextConfig(context, size=8, heads=2)))
    with torch.no_grad():
        for parameter in model.parameters():  # vectors of absence and biases start at zero: let them speak
            if parameter.ndim <= 1:
                parameter.normal_()
    model.target_scale("age")[0].fill_(40.0)
    model.target_scale("age")[1].fill_(10.0)
    return model.double().eval()


@pytest.fixture
def inputs() -> Inputs:
    random = np.random.default_rng(0)
    values = {name: random.normal(size=(COUNT, *shape)).astype(np.float32) for name, shape in SHAPES.items()}
    present = {name: random.random(COUNT) < 0.6 for name in SHAPES}
    return Inputs(values, present, {}, {"audio": np.where(present["audio"], random.integers(1, 8, COUNT), 0)})


@pytest.fixture
def place() -> Place:
    return Place(np.arange(COUNT) // 5, np.arange(COUNT) % 5)


def said(model: FusionModel, inputs: Inputs, place: Place) -> NDArray[np.float32]:
    """All that a model says, a row a segment, float32 as it is stored."""
    found = predict_outputs([model], inputs, place, PRIORS)
    return np.column_stack([found[task.name] for task in TASKS]).astype(np.float32)


def at(place: Place, rows: NDArray[np.int64]) -> Place:
    return Place(place.media[rows], place.order[rows])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_probabilities_are_such_and_nothing_present_is_the_prior(fusion: str, inputs: Inputs, place: Place) -> None:
    found = predict_outputs([made(fusion)], inputs, place, PRIORS)
    for task in ("mood", "loud"):
        assert found[task].sum(axis=1) == pytest.approx(np.ones(COUNT))
    assert ((found["seen"] > 0) & (found["seen"] < 1)).all()
    absent = ~inputs.any_present()
    assert absent.any()
    for task, prior in PRIORS.items():
        assert found[task][absent].reshape(absent.sum(), -1).tolist() == [list(prior)] * int(absent.sum())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_is_masked_is_irrelevant(fusion: str, inputs: Inputs, place: Place) -> None:
    other = {
        name: np.where(inputs.present[name].reshape(-1, *[1] * (values.ndim - 1)), values, np.float32(np.nan))
        for name, values in inputs.values.items()
    }
    model = made(fusion)
    changed = said(model, Inputs(other, inputs.present, {}, inputs.lengths), place)
    assert np.array_equal(changed, said(model, inputs, place))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_mask_is_not_a_vector_of_zeros(fusion: str, inputs: Inputs, place: Place) -> None:
    everything = {name: np.ones(COUNT, bool) for name in SHAPES}
    lengths = {"audio": np.full(COUNT, 7)}
    zeros = Inputs({**inputs.values, "text": np.zeros((COUNT, 6), np.float32)}, everything, {}, lengths)
    model = made(fusion)
    assert not np.allclose(said(model, zeros, place), said(model, zeros.without("text"), place))


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("context", ["none", "bilstm", "transformer"])
def test_order_and_size_of_batches_do_not_show(fusion: str, context: str, inputs: Inputs, place: Place) -> None:
    model = made(fusion, context)
    whole = said(model, inputs, place)
    order = np.random.default_rng(1).permutation(COUNT)
    assert np.allclose(said(model, inputs.take(order), at(place, order)), whole[order], rtol=1e-6)
    for media in range(3):  # a media alone
        rows = np.flatnonzero(place.media == media)
        assert np.allclose(said(model, inputs.take(rows), at(place, rows)), whole[rows], rtol=1e-6)


@pytest.mark.parametrize("context", ["bilstm", "transformer"])
def test_context_sees_the_neighbours_of_the_same_media_alone(context: str, inputs: Inputs, place: Place) -> None:
    model = made(context=context)
    everything = Inputs(
        inputs.values, {name: np.ones(COUNT, bool) for name in SHAPES}, {}, {"audio": np.full(COUNT, 7)}
    )
    values = {**everything.values, "video": everything.values["video"].copy()}
    values["video"][7] += 1  # the third segment of the second media
    changed = said(model, Inputs(values, everything.present, {}, everything.lengths), place)
    moved = np.flatnonzero((changed != said(model, everything, place)).any(axis=1))
    assert set(moved) <= set(range(5, 10))
    assert {6, 7, 8} <= set(moved)


def test_a_regression_is_told_in_its_own_unit(inputs: Inputs, place: Place) -> None:
    found = predict_outputs([made()], inputs, place, PRIORS)["age"]
    assert 0 < found.mean() < 100
    assert found.std() > 0.1
