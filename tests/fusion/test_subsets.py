from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from features.fusion.configs import FUSIONS, EncoderConfig, FusionConfig, TrainingConfig
from features.fusion.losses import task_loss
from features.fusion.model import Architecture, FusionModel, ModelInputs, TaskShape
from features.fusion.prediction import predict_outputs
from features.fusion.step import Answers, Part, Stepper
from features.fusion.subsets import hide, smaller_sets
from features.fusion.training import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.examples import Examples
    from features.fusion.recipe import Recipe

SIZES = {"video": 12, "audio": 8, "text": 10}
COUNT = 24


def _masks(**rows: list[int]) -> dict[str, Tensor]:
    return {name: torch.tensor(row, dtype=torch.bool) for name, row in rows.items()}


def _names(present: dict[str, Tensor], row: int) -> str:
    return "".join(name for name, mask in present.items() if mask[row])


def test_smaller_sets_of_three_are_each_alone_and_each_left_out() -> None:
    sets = smaller_sets(_masks(a=[1], b=[1], c=[1]))
    assert [_names(some.present, 0) for some in sets] == ["a", "b", "c", "bc", "ac", "ab"]
    assert all(some.smaller.tolist() == [True] for some in sets)


def test_of_two_modalities_leaving_one_out_is_the_other_alone() -> None:
    assert [_names(some.present, 0) for some in smaller_sets(_masks(a=[1], b=[1]))] == ["a", "b"]


def test_one_modality_has_no_smaller_set() -> None:
    assert smaller_sets(_masks(a=[1, 0])) == []


def test_a_row_counts_where_the_set_is_smaller_than_what_it_has() -> None:
    """Rows: all; a and b; c alone; nothing."""
    masks = _masks(a=[1, 1, 0, 0], b=[1, 1, 0, 0], c=[1, 0, 1, 0])
    counted = {_names(some.present, 0): some.smaller.tolist() for some in smaller_sets(masks)}
    two, one = [True, True, False, False], [True, False, False, False]
    assert counted == {"a": two, "b": two, "c": one, "bc": two, "ac": two, "ab": one}
    assert _names(smaller_sets(masks)[2].present, 2) == "c"  # it is there all the same, for its neighbours to see


def test_hidden_at_random_and_never_all() -> None:
    masks = _masks(a=[1] * 4000, b=[1] * 4000, c=[0] * 4000)
    torch.manual_seed(0)
    kept = hide(masks, 0.3)
    assert torch.stack(list(kept.values())).any(dim=0).all()
    assert not kept["c"].any()
    # hidden where drawn, unless both are, when both stay
    assert 1 - kept["a"].float().mean().item() == pytest.approx(0.3 * 0.7, abs=0.02)
    assert hide(masks, 0.0) == masks
    assert hide(_masks(a=[1, 1]), 0.9)["a"].all()


def _batch(present: float = 1.0) -> tuple[ModelInputs, dict[str, Answers]]:
    random = torch.Generator().manual_seed(1)
    values = {name: torch.randn(COUNT, width, generator=random) for name, width in SIZES.items()}
    masks = {name: torch.rand(COUNT, generator=random) < present for name in SIZES}
    targets = torch.randint(2, (COUNT,), generator=random)
    weights = torch.rand(COUNT, generator=random) + 0.5
    rows = torch.arange(COUNT)
    return ModelInputs(values, masks, {}, rows, rows), {"mood": Answers(targets, weights)}


def _stepper(recipe: Recipe, kind: str, subset_loss: float) -> Stepper:
    torch.manual_seed(0)
    encoders = {name: EncoderConfig("linear", 8, 0) for name in SIZES}
    fusion = FusionConfig(kind, size=8, heads=2)
    shapes = {name: (width,) for name, width in SIZES.items()}
    model = FusionModel(Architecture(shapes, encoders, fusion, (TaskShape("mood", "class", 2),))).eval()
    training = TrainingConfig(modality_dropout=0, subset_loss=subset_loss)
    return Stepper(replace(recipe, fusion=fusion, encoders=encoders, training=training), model, 1)


@pytest.mark.parametrize("kind", FUSIONS)
def test_the_loss_is_that_of_the_whole_and_the_mean_of_the_sets(recipe: Recipe, kind: str) -> None:
    batch, answers = _batch()
    model = _stepper(recipe, kind, 0).model
    with torch.no_grad():
        said = [model(batch._replace(present=some.present))["mood"] for some in smaller_sets(batch.present)]
    expected = np.mean([float(task_loss("class", logits, *answers["mood"])) for logits in said])
    whole, both = (_stepper(recipe, kind, weight).step(batch, answers) for weight in (0, 3))
    assert both - whole == pytest.approx(3 * expected, rel=1e-4)


def test_parts_of_a_batch_add_up_to_it(recipe: Recipe) -> None:
    """As processes share it."""
    batch, answers = _batch(present=0.7)
    whole = _stepper(recipe, "gated", 2).step(batch, answers)
    parts = []
    for rows in (slice(7), slice(7, COUNT)):
        stepper = _stepper(recipe, "gated", 2)
        part = Part(stepper.weights_of(answers), 0.5)
        values, present = ({name: held[rows] for name, held in of.items()} for of in (batch.values, batch.present))
        taken = ModelInputs(values, present, {}, batch.media[rows], batch.order[rows])
        parts.append(stepper.step(taken, {"mood": Answers(*(held[rows] for held in answers["mood"]))}, part))
    assert sum(parts) == pytest.approx(whole, rel=1e-5)


def test_rows_of_one_modality_bear_one_loss(recipe: Recipe) -> None:
    batch, answers = _batch()
    rows = torch.arange(COUNT)
    batch = batch._replace(present={name: rows % 3 == place for place, name in enumerate(SIZES)})
    plain, both = (_stepper(recipe, "concat", weight).step(batch, answers) for weight in (0, 5))
    assert both == pytest.approx(plain)


def test_a_weak_modality_speaks_as_well_as_alone(recipe: Recipe, make_examples: Callable[..., Examples]) -> None:
    """Beside a strong one that says all it says, it is not learned, unless the model must do with it alone."""
    random = np.random.default_rng(0)
    targets = random.integers(2, size=1500)
    sign = (2 * targets - 1)[:, None]
    sound = sign * 0.7 + random.normal(size=(1500, 1))
    values = {
        "video": sign + 0.3 * random.normal(size=(1500, 4)),
        "audio": sound,
        "text": random.normal(size=(1500, 2)),
    }
    examples = make_examples(values, targets)
    test = examples.of_split("test")
    heard = test.inputs.without("video").without("text")
    encoders = {name: EncoderConfig("linear", 4, 0) for name in values}
    config = TrainingConfig(epochs=20, early_stopping=False, modality_dropout=0, seeds=(0,))

    def entropy(subset_loss: float, modalities: tuple[str, ...]) -> float:
        """Mean cross-entropy of what is said with the sound alone."""
        asked = replace(recipe, encoders=encoders, training=replace(config, subset_loss=subset_loss))
        trained = train(asked, examples, modalities=modalities)
        said = predict_outputs(trained.models(), heard, test.place, trained.priors)["mood"]
        return float(-np.log(said[np.arange(len(said)), test.task.values]).mean())

    alone = entropy(0, ("audio",))
    every = recipe.modalities
    assert entropy(6, every) == pytest.approx(alone, abs=0.02)
    assert entropy(0, every) > alone + 0.03


@pytest.mark.parametrize("kind", FUSIONS)
def test_half_precision_as_on_a_gpu_moves_the_loss_little(
    recipe: Recipe, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoded once in bfloat16, everything that is decided from it is too; the CPU's autocast in the GPU's place."""
    batch, answers = _batch()
    exact = _stepper(recipe, kind, 2).step(batch, answers)
    monkeypatch.setattr(Stepper, "_autocast", lambda _: torch.autocast("cpu", torch.bfloat16))
    assert _stepper(recipe, kind, 2).step(batch, answers) == pytest.approx(exact, rel=0.02)
