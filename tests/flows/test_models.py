"""`triptych models`: the list, a card, two models side by side."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from features.fusion.card import model_card
from features.fusion.configs import EncoderConfig
from features.fusion.facts import FACTS, read_facts
from features.fusion.metrics import Metrics
from features.fusion.recipe import Recipe, RecipeFeature, Task, recipe_to_json
from features.fusion.results import Comparison, Difference, ModelResult, TaskComparison
from features.store.models import ModelRef, model_folder
from tests.flows.conftest import SPECS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.store import Store
    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]

TASKS = (Task("mood", ("low", "high")), Task("arousal", kind="regression"))
MOODS = Recipe(
    name="moods",
    labels="mood",
    tasks=TASKS,
    segmentation="labels:mood",
    score_segmentation="whole",
    features=(RecipeFeature("looks@1", "video"), RecipeFeature("sounds@1", "audio")),
    encoders={"video": EncoderConfig("linear", 4)},
)


def compared(task: Task, gain: float) -> TaskComparison:
    single = ModelResult("audio", Metrics(0.7), Metrics(0.7, mae=0.3), 0.7, 0.65, 0.75, 40)
    score = -0.3 if task.kind == "regression" else 0.7 + gain
    fused = replace(single, name="fused", test=Metrics(0.7 + gain, mae=0.3), score=score, low=score - 0.05)
    return TaskComparison(
        task=task.name,
        kind=task.kind,
        classes=task.classes,
        num_rows=(1200, 30, 40),
        num_test_groups=40,
        majority_class="low",
        majority=Metrics(0.5),
        fused=replace(fused, high=score + 0.05),
        single=(single,),
        subsets=(),
        best_single="audio",
        gain=Difference("audio", gain, gain - 0.05, gain + 0.05),
        absence=(),
        alone=(),
        calibration=(),
    )


def register(store: Store, version: int, *, recipe: Recipe = MOODS, gain: float = 0.1, labels: int = 1) -> Path:
    """What training would leave in the store, but for the weights."""
    tasks = tuple(compared(task, gain) for task in recipe.tasks)
    data = {
        "format_version": 2,
        "created_at": "2026-01-02T03:04:05+00:00",
        "recipe": json.loads(recipe_to_json(recipe)),
        "architecture": {"shapes": {"video": (4,), "audio": (3,)}},
        "classes": {task.name: task.classes for task in recipe.tasks},
        "temperatures": {"mood": 1.5},
        "features": {spec.key: {"spec": asdict(spec), "fingerprint": spec.fingerprint} for spec in SPECS},
        "table_versions": {"labels/mood": labels},
        "seeds": [{"seed": 0, "epoch": 1, "train_loss": 0.5, "dev_loss": 0.6}],
        "metrics": json.loads(Comparison(tasks, (1200, 30, 40), 40, (0,), 2000, "single", {}).to_json()),
        "weights_fingerprint": "feed",
    }
    folder = model_folder(store, ModelRef(recipe.name, version))
    folder.mkdir(parents=True)
    (folder / FACTS).write_text(json.dumps(data))
    return folder


def test_models_are_listed_a_line_a_task(store: Store, triptych: Triptych) -> None:
    register(store, 1, gain=0.02)
    register(store, 2, gain=0.1)
    register(store, 1, recipe=replace(MOODS, name="others"))
    told = triptych("--store", store.root, "models")
    assert told.status == 0
    lines = [line for line in told.out.splitlines() if line.startswith(("moods", "others"))]
    assert [line.split()[0] for line in lines] == ["moods@1", "moods@1", "moods@2", "moods@2", "others@1", "others@1"]
    assert "accuracy 80.0 % (75.0 to 85.0)" in lines[2]
    assert "gain shown over audio: +10.0 points (+5.0 to +15.0)" in lines[2]
    assert "no gain shown over audio: +2.0 points (-3.0 to +7.0)" in lines[0]
    assert "mean absolute error 0.300 (0.250 to 0.350)" in lines[3]
    assert "1,200" in lines[0]
    only = triptych("--store", store.root, "models", "others")
    assert "others@1" in only.out
    assert "moods@1" not in only.out


def test_json_tells_all_of_it(store: Store, triptych: Triptych) -> None:
    register(store, 1)
    (model,) = json.loads(triptych("--store", store.root, "models", "--json").out)["models"]
    assert model["model"] == "moods@1"
    assert model["comparison"]["tasks"][0]["gain_shown"] is True
    assert model["comparison"]["tasks"][0]["fused"]["low"] == pytest.approx(0.75)
    assert model["features"]["looks@1"]["fingerprint"] == SPECS[0].fingerprint


def test_a_store_without_models_says_what_to_do(store: Store, triptych: Triptych) -> None:
    told = triptych("--store", store.root, "models")
    assert told.status == 0
    assert "triptych train" in told.out


def test_a_damaged_model_hides_no_other(store: Store, triptych: Triptych) -> None:
    register(store, 1)
    (register(store, 2) / FACTS).write_text('{"format_version": 1}')
    told = triptych("--store", store.root, "models")
    assert told.status == 0
    assert "moods@1" in told.out
    assert "moods@2 cannot be listed" in told.err
    assert list(json.loads(triptych("--store", store.root, "models", "--json").out)["unreadable"]) == ["moods@2"]


def test_an_unknown_model_is_told_with_the_nearest(store: Store, triptych: Triptych) -> None:
    register(store, 1)
    for name in ("mods", "moods@7"):
        told = triptych("--store", store.root, "models", name)
        assert told.status != 0
        assert "did you mean 'moods@1'" in told.err


def test_a_version_shows_its_card(store: Store, triptych: Triptych) -> None:
    folder = register(store, 1)
    made = triptych("--store", store.root, "models", "moods@1")
    assert made.out == model_card(read_facts(folder))
    (folder / "card.md").write_text("# As it was saved\n")
    assert triptych("--store", store.root, "models", "moods@1").out == "# As it was saved\n"
    assert json.loads(triptych("--store", store.root, "models", "moods@1", "--json").out)["card"].startswith("# As")


def test_two_models_stand_side_by_side(store: Store, triptych: Triptych) -> None:
    register(store, 1, gain=0.02)
    wider = replace(MOODS, encoders={"video": EncoderConfig("linear", 8)}, tasks=TASKS[:1])
    register(store, 2, recipe=wider, labels=5)
    told = triptych("--store", store.root, "models", "--compare", "moods@1", "moods")
    assert told.status == 0
    (line,) = [line for line in told.out.splitlines() if line.startswith("accuracy ")]
    assert re.split(r" {2,}", line) == ["accuracy", "72.0 % (67.0 to 77.0)", "80.0 % (75.0 to 85.0)"]
    assert "not comparable: they learned from other labels (labels/mood:1 and labels/mood:5)" in told.out
    data = json.loads(triptych("--store", store.root, "models", "--json", "--compare", "moods@1", "moods@2").out)
    found = {item["what"]: (item["one"], item["other"]) for item in data["differences"]}
    assert found["encoders.video.size"] == ("4", "8")
    assert found["version of labels/mood"] == ("1", "5")
    assert found["tasks[arousal].kind"] == ("regression", "-")
    assert len(data["not_comparable"]) == 1


def test_models_of_one_recipe_and_labels_are_comparable(store: Store, triptych: Triptych) -> None:
    register(store, 1)
    register(store, 2)
    told = triptych("--store", store.root, "models", "--compare", "moods@1", "moods@2").out
    assert "figures of the same labels, splits and segments" in told
    assert "the same recipe, features and tables" in told


def test_a_name_and_a_comparison_are_one_too_many(store: Store, triptych: Triptych) -> None:
    told = triptych("--store", store.root, "models", "moods", "--compare", "a", "b")
    assert told.status != 0
    assert "leave one out" in told.err


def test_what_training_registers_is_listed_with_its_card(
    store: Store, triptych: Triptych, recipe: Path, write_labels: Callable[..., Path]
) -> None:
    assert triptych("--store", store.root, "label", "mood", write_labels("low", "high")).status == 0
    assert triptych("--store", store.root, "train", recipe).status == 0
    (model,) = json.loads(triptych("--store", store.root, "models", "--json").out)["models"]
    assert [task["task"] for task in model["comparison"]["tasks"]] == ["mood"]
    assert model["table_versions"]["labels/mood"] == store.load("labels/mood").version()
    card = triptych("--store", store.root, "models", "moods@1").out
    assert card.startswith("# moods, version 1\n")
    assert all(spec.fingerprint in card for spec in SPECS)
    assert "No gain over" in card  # twelve media show nothing
