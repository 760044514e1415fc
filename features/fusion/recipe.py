"""Recipes: a scenario as data - task, labels, segments, features, encoders, fusion, training, splits."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from features.errors import ConfigError
from features.fusion.alignment import POOLS
from features.fusion.segments import parse_segmentation
from features.fusion.settings import Place, nearest, parse, setting

_FEATURE_KEY = re.compile(r"[a-z0-9_]+@[0-9]+")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Task:
    """What is predicted: a class of a label set's `task`. No classes: those that the labels hold, sorted."""

    name: str
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecipeFeature:
    """A feature table, `<name>@<version>`, the modality that it speaks for, and how its rows are pooled."""

    name: str
    modality: str = setting(choices=("video", "audio", "text", "face", "voice"))
    pool: str = setting("mean", choices=POOLS)


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """A modality's encoder: its kind, the size of its output, and its dropout."""

    kind: str = setting("mlp", choices=("mlp", "linear"))
    size: int = setting(32, at_least=1, at_most=4096)
    dropout: float = setting(0.5, at_least=0, at_most=0.95)


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """How encoded modalities become one vector."""

    kind: str = setting("concat", choices=("concat",))


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The training loop's numbers; a model is the mean over its seeds.

    Attributes:
        epochs: Passes over the training split at most.
        batch_size: Examples a step.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW, on weight matrices.
        patience: Epochs without a better loss on the dev split before training stops.
        modality_dropout: Chance that a present modality is hidden from an example in training.
        seeds: One model is trained for each; their probabilities are averaged.
    """

    epochs: int = setting(80, at_least=1)
    batch_size: int = setting(32, at_least=1)
    learning_rate: float = setting(0.002, at_least=1e-8, at_most=1)
    weight_decay: float = setting(0.05, at_least=0, at_most=10)
    patience: int = setting(15, at_least=1)
    modality_dropout: float = setting(0.1, at_least=0, at_most=0.9)
    seeds: tuple[int, ...] = setting((0, 1, 2), at_least=0, at_most=2**31)


@dataclass(frozen=True, slots=True)
class SplitConfig:
    """Name of the table of splits, and the fractions of groups where it holds none yet."""

    name: str = "default"
    train: float = setting(0.6, at_least=0.01, at_most=1)
    dev: float = setting(0.2, at_least=0.01, at_most=1)
    test: float = setting(0.2, at_least=0.01, at_most=1)
    seed: int = setting(0, at_least=0)

    @property
    def fractions(self) -> dict[str, float]:
        """Fraction by split."""
        return {"train": self.train, "dev": self.dev, "test": self.test}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A scenario. The packaged recipes say in comments what each key does.

    Attributes:
        name: Name of the recipe, and of the models that it makes.
        labels: Label set, `labels/<labels>`.
        task: What is predicted.
        segmentation: Segments that are learned from.
        score_segmentation: Segments that are scored.
        features: Feature tables; those of one modality are joined end to end.
        version: Counts up with every change.
        allow_recognised_text: Also use text whose only source is a speech recogniser.
        include_failed: Keep segments whose extraction failed, the modality masked.
        encoders: Encoder by modality; one that is missing has the defaults.
        fusion: How encoded modalities are joined.
        training: The training loop's numbers.
        splits: How groups of media are split.
    """

    name: str
    labels: str
    task: Task
    segmentation: str
    score_segmentation: str
    features: tuple[RecipeFeature, ...]
    version: int = setting(1, at_least=1)
    allow_recognised_text: bool = False
    include_failed: bool = False
    encoders: Mapping[str, EncoderConfig] = setting({})
    fusion: FusionConfig = FusionConfig()
    training: TrainingConfig = TrainingConfig()
    splits: SplitConfig = SplitConfig()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in the order in which the features name them first."""
        return tuple(dict.fromkeys(feature.modality for feature in self.features))

    def features_of(self, modality: str) -> tuple[RecipeFeature, ...]:
        """The features that speak for a modality."""
        return tuple(feature for feature in self.features if feature.modality == modality)


def packaged_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with Triptych, sorted."""
    folder = resources.files("features.fusion").joinpath("recipes")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def load_recipe(name_or_path: str) -> Recipe:
    """Read a packaged recipe by its name, or a recipe file by its path.

    Args:
        name_or_path: `sentiment`, or a path that ends in `.toml`.

    Raises:
        ConfigError: There is no such recipe, or a key or a value in it is wrong.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        text = _read(Path(name_or_path))
    elif name_or_path in packaged_recipes():
        text = resources.files("features.fusion").joinpath("recipes", f"{name_or_path}.toml").read_text("utf-8")
    else:
        known = packaged_recipes()
        hint = f"{nearest(name_or_path, list(known))}recipes are {', '.join(known)}"
        message = f"there is no recipe {name_or_path!r}; {hint}, or give the path of a .toml file"
        raise ConfigError(message)
    source = f"recipe {name_or_path!r}"
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{source} is not TOML ({error}); correct that line"
        raise ConfigError(message) from error
    return _checked(parse(Recipe, data, Place(source)), Place(source))


def recipe_to_json(recipe: Recipe) -> str:
    """The recipe as a JSON object."""
    return json.dumps(asdict(recipe), sort_keys=True)


def recipe_from_json(text: str) -> Recipe:
    """Read what `recipe_to_json` wrote.

    Raises:
        ConfigError: The text is not a recipe.
    """
    place = Place("stored recipe")
    try:
        data = json.loads(text)
    except ValueError as error:
        message = f"{place.source} is not JSON ({error}); train the model again"
        raise ConfigError(message) from error
    return _checked(parse(Recipe, data, place), place)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        known = ", ".join(packaged_recipes())
        message = f"cannot read recipe {str(path)!r} ({reason}); give a .toml file, or one of {known}"
        raise ConfigError(message) from error


def _checked(recipe: Recipe, place: Place) -> Recipe:
    for key in ("name", "labels"):
        if not _NAME.fullmatch(getattr(recipe, key)):
            place.inside(key).refuse(f"is {getattr(recipe, key)!r}; use letters, digits, _ and - only")
    for key in ("segmentation", "score_segmentation"):
        try:
            parse_segmentation(getattr(recipe, key))
        except ConfigError as error:
            place.inside(key).refuse(f"is wrong: {error}")
    _check_task(recipe, place)
    _check_features(recipe, place)
    seeds = recipe.training.seeds
    if not seeds or len(set(seeds)) < len(seeds):
        place.inside("training.seeds").refuse(f"is {list(seeds)}; give at least one seed, each once")
    total = sum(recipe.splits.fractions.values())
    if abs(total - 1) > 1e-6:
        place.inside("splits").refuse(f"has fractions that sum to {total:g}; train, dev and test must sum to 1")
    return recipe


def _check_task(recipe: Recipe, place: Place) -> None:
    classes = recipe.task.classes
    if len(set(classes)) < len(classes) or len(classes) == 1:
        place.inside("task.classes").refuse(f"is {list(classes)}; give two or more, each once, or none")


def _check_features(recipe: Recipe, place: Place) -> None:
    names = [feature.name for feature in recipe.features]
    if not names or len(set(names)) < len(names):
        place.inside("features").refuse(f"names {names}; give at least one feature, each once")
    for name in names:
        if not _FEATURE_KEY.fullmatch(name):
            place.inside("features").refuse(f"names {name!r}; write it as name@version, such as mfcc@1")
    for modality in recipe.encoders:
        if modality not in recipe.modalities:
            problem = f"is for a modality without features; {nearest(modality, list(recipe.modalities))}"
            place.inside(f"encoders.{modality}").refuse(f"{problem}modalities are {', '.join(recipe.modalities)}")
