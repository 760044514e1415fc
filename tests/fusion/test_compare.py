from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from features.errors import ModelError
from features.fusion.compare import compare
from features.fusion.prediction import predict_outputs
from features.fusion.results import MIN_TEST_GROUPS, Comparison, Difference

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.examples import Examples
    from features.fusion.recipe import Recipe
    from tests.fusion.conftest import Archive


def in_part(count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Three modalities that each carry an independent part of what decides the class."""
    random = np.random.default_rng(seed)
    parts = random.normal(size=(count, 3))
    values = {}
    for index, (name, width) in enumerate({"video": 40, "audio": 12, "text": 24}.items()):
        direction = random.normal(size=width) / np.sqrt(width)
        values[name] = parts[:, index : index + 1] * direction * 3 + 0.3 * random.normal(size=(count, width))
    return values, (parts.sum(axis=1) > 0).astype(int)


def test_modalities_that_complete_each_other_show_a_gain(
    recipe: Recipe, make_examples: Callable[..., Examples]
) -> None:
    _, comparison = compare(recipe, make_examples(*in_part(500, 0)))
    assert comparison.gain_shown
    assert comparison.verdict.startswith("gain shown: fusion +")
    assert comparison.first.fused.test.accuracy > 0.85
    assert comparison.first.majority.accuracy < 0.65
    assert comparison.first.gain.low < comparison.first.gain.value < comparison.first.gain.high


@pytest.mark.slow
def test_noise_shows_no_gain(recipe: Recipe, make_examples: Callable[..., Examples]) -> None:
    """Two modalities of noise beside one that tells: fusion is claimed to help in at most 5 of 100 archives."""
    claims, right = 0, []
    config = replace(recipe.training, epochs=10, seeds=(0,), batch_size=256, learning_rate=0.03)
    quick = replace(recipe, training=config)
    for seed in range(100):
        values, _ = in_part(300, seed)
        random = np.random.default_rng(seed + 100)
        targets = (values["video"][:, 0] > random.normal(scale=0.5, size=300)).astype(int)
        noise = {name: random.normal(size=values[name].shape) for name in ("audio", "text")}
        _, comparison = compare(quick, make_examples({**values, **noise}, targets))
        claims += comparison.gain_shown
        right.append(comparison.first.single[0].score)
    assert claims <= 5
    assert np.mean(right) > 0.62  # they did learn


def test_figures_are_those_of_the_model(archive: Archive) -> None:
    examples = archive.examples()
    seen: list[tuple[str, int, int]] = []
    trained, comparison = compare(archive.recipe, examples, on_progress=lambda *step: seen.append(step))
    test = examples.of_split("test")
    found = predict_outputs(trained.models(), test.inputs, test.place, trained.priors, trained.temperatures)
    predictions = found["mood"].argmax(axis=1)
    assert comparison.first.fused.test.accuracy == accuracy_score(test.task.values, predictions)
    assert comparison.first.fused.test.f1 == f1_score(test.task.values, predictions, average="macro")
    assert comparison.num_rows == (36, 12, 12)
    assert [result.name for result in comparison.first.single] == ["video", "audio", "text"]
    assert seen == [("fused", 0, 4), ("video", 1, 4), ("audio", 2, 4), ("text", 3, 4)]


def test_few_groups_never_show_a_gain(archive: Archive) -> None:
    _, comparison = compare(archive.recipe, archive.examples())
    lucky = replace(comparison.first, gain=Difference("audio", 0.5, 0.2, 0.8))
    assert lucky.num_test_groups < MIN_TEST_GROUPS
    assert not lucky.gain_shown
    assert "no gain shown" in lucky.verdict
    assert replace(lucky, num_test_groups=MIN_TEST_GROUPS).gain_shown


def test_rows_without_the_modality_count_for_the_single_model(archive: Archive) -> None:
    examples = archive.examples()
    mask = np.ones(60, bool)
    mask[np.flatnonzero(np.array(examples.split) == "test")[:5]] = False
    inputs = replace(examples.inputs, present={**examples.present, "audio": mask})
    _, comparison = compare(archive.recipe, replace(examples, inputs=inputs))
    audio = comparison.first.single[1]
    assert audio.num_test_present == 7
    assert comparison.first.fused.num_test_present == 12
    assert round(audio.test.accuracy * 12) == pytest.approx(audio.test.accuracy * 12)


def test_json_keeps_everything(archive: Archive) -> None:
    _, comparison = compare(archive.recipe, archive.examples())
    assert Comparison.from_json(comparison.to_json()) == comparison
    with pytest.raises(ModelError, match="is not a comparison"):
        Comparison.from_json("{}")
