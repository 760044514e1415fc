"""`triptych init`: its files say all that the code reads, are valid as they stand, and replace nothing."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from features.fusion.configs import EncoderConfig, FusionConfig, SplitConfig, TrainingConfig
from features.fusion.recipe import load_recipe
from features.privacy.consent_policy import read_policy
from features.store.labels import read_label_file
from features.synthetic.archive import make_archive
from flows.commands.init import CONFIGURATION, STATED, SUGGESTED, TEMPLATES, configuration
from pipelines.options import NightlyConfig, config_from_mapping, default_of, option_fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flows.conftest import Outcome

FILES = (CONFIGURATION, *TEMPLATES)
NUM_CLIPS = 12


def _uncommented(text: str) -> str:
    """The configuration with every key switched on."""
    return re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)


def test_the_configuration_is_what_the_code_reads() -> None:
    stated = tomllib.loads(configuration())
    assert set(stated) == {"store", "nightly"}
    wanted = NightlyConfig(sources=("videos/",), recipe="recipe.toml", consent="consent.toml")
    assert config_from_mapping(NightlyConfig, stated["nightly"]) == wanted


def test_every_option_stands_there_once_with_its_default_and_its_help() -> None:
    text = configuration()
    switched_on = tomllib.loads(_uncommented(text))["nightly"]
    options = option_fields(NightlyConfig)
    assert set(switched_on) == set(options)
    words = re.sub(r"\n#   ", " ", text)
    for name, (item, _) in options.items():
        value = switched_on[name]
        if name not in STATED and name not in SUGGESTED:
            assert (tuple(value) if isinstance(value, list) else value) == default_of(item), name
        assert item.metadata["help"] in words, name
    assert max(len(line) for line in text.splitlines()) <= 120


def test_it_writes_and_says_what_comes_next(tmp_path: Path, triptych: Callable[..., Outcome]) -> None:
    done = triptych("init", tmp_path / "mine")
    assert done.status == 0
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(FILES)
    assert len(re.findall("^  triptych --config ", done.out, re.MULTILINE)) == 3


def test_it_replaces_nothing(tmp_path: Path, triptych: Callable[..., Outcome]) -> None:
    (tmp_path / "labels.csv").write_text("mine", encoding="utf-8")
    refused = triptych("init", tmp_path)
    assert refused.status == 2
    assert str(tmp_path / "labels.csv") in refused.err
    assert "--force" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]
    assert triptych("init", tmp_path, "--force", "--json").status == 0
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8").startswith("uri,class")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, triptych: Callable[..., Outcome]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused = triptych("init", tmp_path / "file" / "below")
    assert refused.status == 3
    assert "name another folder" in refused.err


def test_recipe_consent_and_labels_are_read(tmp_path: Path, triptych: Callable[..., Outcome]) -> None:
    triptych("init", tmp_path)
    recipe = load_recipe(str(tmp_path / "recipe.toml"))
    assert recipe.modalities == ("video", "audio", "text")
    assert recipe.labels == recipe.task.name == "mood"
    # what it states without need is the code's own default, so that taking a line out changes nothing
    assert (recipe.splits, recipe.fusion) == (SplitConfig(), FusionConfig())
    assert recipe.encoders["text"] == EncoderConfig(kind="linear")
    assert recipe.training.seeds == TrainingConfig().seeds
    policy = read_policy(tmp_path / "consent.toml")
    assert policy.rules == ()
    rules = re.sub(r"^# (\[\[rules|source|subject|refuse|note)", r"\1", _text(tmp_path, "consent.toml"), flags=re.M)
    (tmp_path / "all.toml").write_text(rules, encoding="utf-8")
    assert [rule.refuse for rule in read_policy(tmp_path / "all.toml").rules] == [("training",), ("all",)]
    assert len(read_label_file(tmp_path / "labels.csv")) == 3


def test_a_renamed_task_is_a_valid_recipe(tmp_path: Path, triptych: Callable[..., Outcome]) -> None:
    """The four marked lines are all that bear the name."""
    triptych("init", tmp_path)
    lines = [
        re.sub("mood", "pain", line) if "(1)" in line else line for line in _text(tmp_path, "recipe.toml").split("\n")
    ]
    (tmp_path / "pain.toml").write_text("\n".join(lines), encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "pain.toml"))
    assert (recipe.name, recipe.labels, recipe.segmentation, recipe.task.name) == (
        "pain",
        "pain",
        "labels:pain",
        "pain",
    )
    assert "mood" not in "".join(line for line in lines if "=" in line.partition("#")[0])


@pytest.mark.slow
def test_the_nightly_run_takes_them_as_they_stand_and_then_with_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, triptych: Callable[..., Outcome]
) -> None:
    monkeypatch.chdir(tmp_path)
    triptych("init")
    archive = make_archive(tmp_path / "videos", num_clips=NUM_CLIPS)
    options = ("--runner", "in-process")
    first = triptych("--config", CONFIGURATION, "nightly", *options)
    assert first.status == 0, first.err
    assert "trained nothing" in first.out
    _label(tmp_path, archive.labels)
    second = triptych("--config", CONFIGURATION, "nightly", *options, "--json")
    assert second.status == 0, second.err
    told = {stage["stage"]: stage["detail"] for stage in json.loads(second.out)["stages"]}
    assert told["train"] == "mood@1"
    assert (tmp_path / "triptych-store" / "models" / "mood" / "1").is_dir()


def _label(folder: Path, labels: Path) -> None:
    """The archive's labels, as a user would write them into `labels.csv`; then the `#` is taken away."""
    with labels.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = ["uri,class", *(f"videos/{row['uri']},{row['class']}" for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / CONFIGURATION).write_text(
        _text(folder, CONFIGURATION).replace("# labels = ", "labels = "), encoding="utf-8"
    )


def _text(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")
