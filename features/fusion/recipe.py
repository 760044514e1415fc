"""Recipes: a scenario as data - tasks, labels, segments, features, encoders, context, fusion, training, splits."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from features.errors import ConfigError
from features.fusion.configs import (
    AugmentationConfig,
    ContextConfig,
    EncoderConfig,
    FusionConfig,
    NormalisationConfig,
    SplitConfig,
    TrainingConfig,
)
from features.fusion.settings import Place, nearest, parse, setting

TASK_KINDS = ("class", "binary", "multilabel", "regression")
RAW_INPUTS = {"frame64": (64, 64, 3), "log_mel_128": (128, 128)}
"""Raw inputs, computed on reading, and their shapes."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is predicted.

    Attributes:
        name: Task, as the labels name it.
        classes: In order; none: those that the labels hold, sorted. Of a binary task the second is the positive one.
        kind: `class` (one of several), `binary` (one of two, by a sigmoid), `multilabel` (any of several),
            `regression` (the labels' number).
        labels: Label set; by default the recipe's.
        weight: Weight of its loss, where `training.loss_weights` is `fixed`.
        ignore: Classes whose labels are passed over, such as `neutral` of a binary task.
    """

    name: str
    classes: tuple[str, ...] = ()
    kind: str = setting("class", choices=TASK_KINDS)
    labels: str = ""
    weight: float = setting(1.0, at_least=0, at_most=1e6)
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecipeFeature:
    """A feature table, or a raw input, and the modality that it speaks for.

    Attributes:
        name: `<name>@<version>`, or a raw input: `frame64`, `log_mel_128`.
        modality: The modality; the vectors of one modality are joined end to end.
        pool: How rows that overlap a segment become its vector: `mean`, `max`, `std`, `last`, several joined by `+`
            (`mean+std`), or `sequence`, the rows in order of time. Raw inputs take none.
        max_len: Rows that a sequence holds at most.
    """

    name: str
    modality: str = setting(choices=("video", "audio", "text", "face", "voice"))
    pool: str = "mean"
    max_len: int = setting(64, at_least=1, at_most=10_000)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A scenario. The packaged recipes say in comments what each key does.

    Attributes:
        name: Name of the recipe, and of the models that it makes.
        labels: Label set, `labels/<labels>`, of tasks that name no other.
        tasks: What is predicted. A recipe of one task may write `[task]`.
        segmentation: Segments that are learned from.
        score_segmentation: Segments that are scored.
        features: Feature tables and raw inputs.
        version: Counts up with every change.
        allow_recognised_text: Also use text whose only source is a speech recogniser.
        include_failed: Keep segments whose extraction failed, the modality masked.
        normalisation: What mean and deviation are taken from.
        encoders: Encoder by modality; one that is missing has the defaults.
        context: What a segment sees of its neighbours.
        fusion: How encoded modalities are joined.
        augmentation: What training does to its inputs.
        training: The training loop's numbers.
        splits: How groups of media are split.
    """

    name: str
    labels: str
    tasks: tuple[Task, ...]
    segmentation: str
    score_segmentation: str
    features: tuple[RecipeFeature, ...]
    version: int = setting(1, at_least=1)
    allow_recognised_text: bool = False
    include_failed: bool = False
    normalisation: NormalisationConfig = NormalisationConfig()
    encoders: Mapping[str, EncoderConfig] = setting({})
    context: ContextConfig = ContextConfig()
    fusion: FusionConfig = FusionConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    splits: SplitConfig = SplitConfig()

    @property
    def task(self) -> Task:
        """The first task."""
        return self.tasks[0]

    @property
    def label_sets(self) -> tuple[str, ...]:
        """Label sets of all tasks, the recipe's first."""
        return tuple(dict.fromkeys([self.labels, *(task.labels or self.labels for task in self.tasks)]))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in the order in which the features name them first."""
        return tuple(dict.fromkeys(feature.modality for feature in self.features))

    @property
    def tables(self) -> tuple[RecipeFeature, ...]:
        """The features that are stored: all but raw inputs."""
        return tuple(feature for feature in self.features if feature.name not in RAW_INPUTS)

    @property
    def raw_inputs(self) -> tuple[str, ...]:
        """Names of the raw inputs among the features."""
        return tuple(feature.name for feature in self.features if feature.name in RAW_INPUTS)

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
    return _parsed(data, Place(source))


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
    return _parsed(data, place)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        known = ", ".join(packaged_recipes())
        message = f"cannot read recipe {str(path)!r} ({reason}); give a .toml file, or one of {known}"
        raise ConfigError(message) from error


def _parsed(data: object, place: Place) -> Recipe:
    """Parse and check; `[task]` is the short form of one `[[tasks]]`."""
    from features.fusion.recipe_checks import check_recipe  # it speaks of recipes

    if isinstance(data, Mapping) and "task" in data:
        if "tasks" in data:
            place.inside("task").refuse("stands beside tasks; write one [task], or [[tasks]] alone")
        data = {**{key: value for key, value in data.items() if key != "task"}, "tasks": [data["task"]]}
    recipe = parse(Recipe, data, place)
    check_recipe(recipe, place)
    return recipe
