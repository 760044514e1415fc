from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError
from features.fusion.recipe import load_recipe, packaged_recipes, recipe_from_json, recipe_to_json


def sentiment_with(folder: Path, old: str, new: str) -> str:
    text = resources.files("features.fusion").joinpath("recipes", "sentiment.toml").read_text("utf-8")
    assert old in text
    path = folder / "changed.toml"
    path.write_text(text.replace(old, new, 1))
    return str(path)


def test_packaged_recipes_load() -> None:
    assert "sentiment" in packaged_recipes()
    recipe = load_recipe("sentiment")
    assert recipe.modalities == ("video", "audio", "text")
    assert [feature.name for feature in recipe.features] == ["efficientnet_lite0@1", "mfcc@1", "minilm@1"]
    assert not recipe.allow_recognised_text


def test_json_keeps_everything() -> None:
    recipe = load_recipe("sentiment")
    assert recipe_from_json(recipe_to_json(recipe)) == recipe


def test_a_path_is_read(tmp_path: Path) -> None:
    path = sentiment_with(tmp_path, "allow_recognised_text = false", "allow_recognised_text = true")
    assert load_recipe(path).allow_recognised_text


def test_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'sentimnt'; did you mean 'sentiment'\? recipes are .*sentiment"):
        load_recipe("sentimnt")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 80", "epoch = 80", r"unknown key 'epoch' in section \[training\]; did you mean 'epochs'\?"),
        ("score_segmentation", "score_segmentatoin", r"'score_segmentatoin' in the top level; did you mean 'score_seg"),
        ('pool = "mean"', 'pol = "mean"', r"unknown key 'pol' in section \[features\[0\]\]; did you mean 'pool'"),
        ("epochs = 80", 'epochs = "80"', r"training.epochs is '80'; it must be a whole number"),
        ("epochs = 80", "epochs = true", r"training.epochs is True; it must be a whole number"),
        ("epochs = 80", "epochs = 0", r"training.epochs is 0; it must be at least 1"),
        ("learning_rate = 0.002", "learning_rate = nan", r"learning_rate is nan; it must be at least"),
        ("dropout = 0.5", "dropout = 1.5", r"encoders.video.dropout is 1.5; it must be at least 0 and at most 0.95"),
        ('kind = "linear"', 'kind = "liner"', r"encoders.video.kind is 'liner'; did you mean 'linear'\?"),
        ('kind = "concat"', 'kind = "magic"', r"fusion.kind is 'magic'; it must be one of concat"),
        ("[encoders.audio]", "[encoders.adio]", r"encoders.adio .*without features; did you mean 'audio'"),
        ('name = "mfcc@1"', 'name = "mfcc"', r"'mfcc'; write it as name@version"),
        ('"labels:sentiment"', '"windows"', r"segmentation is wrong: there is no segmentation 'windows'"),
        ("train = 0.6", "train = 0.7", r"splits has fractions that sum to 1.1"),
        ("seeds = [0, 1, 2]", "seeds = [1, 1]", r"training.seeds is \[1, 1\]"),
        ("seeds = [0, 1, 2]", "seeds = 3", r"training.seeds is 3; it must be a list"),
        ('labels = "sentiment"', "", r"top level lacks the key 'labels'"),
        ("[fusion]", "[fusion", r"is not TOML"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(sentiment_with(tmp_path, old, new))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read recipe .*gone.toml"):
        load_recipe(str(tmp_path / "gone.toml"))


def test_recipes_do_not_import_torch() -> None:
    code = "import sys, features.fusion.recipe; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


_BASE = json.loads(recipe_to_json(load_recipe("sentiment")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": [{"name": "a"}, {"name": "a"}]}, r"tasks names \['a', 'a'\]; give at least one task, each once"),
        ({"task": {"name": "a", "kind": "binary", "classes": ["x", "y", "z"]}}, r"task.classes is \['x', 'y', 'z'\]"),
        ({"task": {"name": "a", "kind": "regression", "classes": ["x", "y"]}}, r"a regression has none"),
        ({"task": {"name": "a", "kind": "ordinal"}}, r"kind is 'ordinal'; .*it must be one of class"),
        ({"fusion": {"kind": "tensr"}}, r"fusion.kind is 'tensr'; did you mean 'tensor'\?"),
        ({"fusion": {"kind": "weighted", "weights": {"video": 1.0}}}, r"fusion.weights lacks \['audio', 'text'\]"),
        ({"fusion": {"kind": "weighted", "weights": {"vido": 1.0}}}, r"names 'vido'; did you mean 'video'\?"),
        ({"encoders": {"video": {"size": 8}}, "fusion": {"kind": "attention"}}, r"needs encoders of one size"),
        ({"encoders": {"video": {"size": 200}, "audio": {"size": 200}}, "fusion": {"kind": "tensor"}}, r"low_rank"),
        ({"encoders": {"video": {"kind": "lstm"}}}, r"encoders.video.kind is 'lstm', which reads a sequence, and"),
        ({"encoders": {"video": {"size": 9, "kind": "transformer"}}}, r"heads is 4; it must divide size, which is 9"),
        ({"context": {"kind": "bilstm", "size": 9}}, r"context.size is 9; it must be even"),
        ({"normalisation": {"per": "speaker"}}, r"normalisation.per is 'speaker'; it must be one of train, subject"),
        ({"training": {"optimizer": "adam"}}, r"unknown key 'optimizer' in section \[training\]; did you mean 'opti"),
        ({"augmentation": {"flip": 2.0}}, r"augmentation.flip is 2.0; it must be at least 0 and at most 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any], message: str) -> None:
    kept = {key: value for key, value in _BASE.items() if key != "tasks" or "task" not in change}
    kept = {key: value for key, value in kept.items() if key != "encoders" or "fusion" not in change}
    data = {**kept, **change}
    with pytest.raises(ConfigError, match=message):
        recipe_from_json(json.dumps(data))


def test_one_feature_of_a_sequence_stands_alone_and_pools_are_known() -> None:
    features = [{"name": "mfcc@1", "modality": "audio", "pool": "sequence"}, {"name": "mel@1", "modality": "audio"}]
    with pytest.raises(ConfigError, match=r"join 'mfcc@1' of modality 'audio' with \['mel@1'\]; a sequence or raw"):
        recipe_from_json(json.dumps({**_BASE, "features": features, "encoders": {}}))
    features = [{"name": "mfcc@1", "modality": "audio", "pool": "mean+sdt"}]
    with pytest.raises(ConfigError, match=r"of 'mfcc@1' has pool 'mean\+sdt'; did you mean 'std'\?"):
        recipe_from_json(json.dumps({**_BASE, "features": features, "encoders": {}}))


@pytest.mark.parametrize("name", packaged_recipes())
def test_packaged_recipes_hold_and_say_what_they_are(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe_from_json(recipe_to_json(recipe)) == recipe


def test_the_recipe_of_the_docs_holds() -> None:
    text = resources.files("features.fusion").joinpath("TRAINING.md").read_text("utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    recipe = recipe_from_json(json.dumps(tomllib.loads(block)))
    assert [task.kind for task in recipe.tasks] == ["class", "multilabel", "regression"]
