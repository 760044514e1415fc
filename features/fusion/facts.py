"""Facts: what `model.json` states of a model, read without its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError, ModelError, SchemaError
from features.fusion.recipe import Recipe, recipe_from_json
from features.fusion.results import Comparison
from features.fusion.settings import Place, parse
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from pathlib import Path

    from features.fusion.results import Calibration

FACTS = "model.json"


@dataclass(frozen=True, slots=True)
class SeedFacts:
    """How one member of a model was trained: the epoch whose weights are kept, and its mean losses."""

    seed: int
    epoch: int
    train_loss: float
    dev_loss: float


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model without its weights.

    Attributes:
        name: Of the model, and of its recipe.
        version: Of the model; the name of its folder.
        recipe: What it was trained by.
        comparison: Its figures.
        classes: In the order of the probabilities, by task; none for a regression.
        shapes: Shape of one segment's input by modality.
        specs: The stored features that it learned from, in the order of their names.
        table_versions: Versions of the tables that it learned from.
        temperatures: What probabilities are calibrated with, by task.
        seeds: One a member.
        num_parameters: Of one member; 0 where it is not stated.
        created_at: ISO 8601.
        fingerprint: Hash of the weights.
        run_id: Run that trained it; empty where it was not stated.
        code_version: Version of Triptych that trained it.
    """

    name: str
    version: str
    recipe: Recipe
    comparison: Comparison
    classes: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    specs: tuple[FeatureSpec, ...]
    table_versions: Mapping[str, int]
    temperatures: Mapping[str, float]
    seeds: tuple[SeedFacts, ...]
    num_parameters: int
    created_at: str
    fingerprint: str
    run_id: str
    code_version: str

    @property
    def key(self) -> str:
        """`<name>@<version>`."""
        return f"{self.name}@{self.version}"

    def calibrated_apart(self, found: Calibration) -> bool:
        """Whether a temperature was fitted on groups that chose no epoch."""
        return found.own_groups or not self.recipe.training.early_stopping


@dataclass(frozen=True, slots=True)
class _Stated:
    """The keys of `model.json` that are read here."""

    created_at: str
    recipe: Mapping[str, Any]
    architecture: Mapping[str, Any]
    classes: Mapping[str, tuple[str, ...]]
    temperatures: Mapping[str, float]
    features: Mapping[str, Mapping[str, Any]]
    table_versions: Mapping[str, int]
    seeds: tuple[SeedFacts, ...]
    metrics: Mapping[str, Any]
    weights_fingerprint: str
    run_id: str = ""
    code_version: str = ""
    num_parameters: int = 0


def read_facts(folder: Path) -> ModelFacts:
    """Read what a model's folder states of it; its weights are neither read nor checked.

    Raises:
        ModelError: There is no model, or it is damaged, or another format's.
    """
    try:
        text = (folder / FACTS).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {str(folder / FACTS)!r} ({getattr(error, 'strerror', None) or error});"
        message += " copy the model again, or train it again"
        raise ModelError(message) from error
    return facts_of(text, version=folder.name)


def facts_of(text: str, *, version: str) -> ModelFacts:
    """What the text of a `model.json` states.

    Args:
        text: JSON.
        version: Of the model.

    Raises:
        ModelError: The text is not a model's, or another format's.
    """
    try:
        data = json.loads(text)
        known = {item.name for item in fields(_Stated)}
        kept = {key: value for key, value in data.items() if key in known} if isinstance(data, dict) else data
        stated = parse(_Stated, kept, Place(FACTS))
        recipe = recipe_from_json(json.dumps(stated.recipe))
        return ModelFacts(
            name=recipe.name,
            version=version,
            recipe=recipe,
            comparison=Comparison.from_json(json.dumps(stated.metrics)),
            classes=stated.classes,
            shapes={name: tuple(shape) for name, shape in stated.architecture["shapes"].items()},
            specs=tuple(
                FeatureSpec.from_json(json.dumps(stated.features[key]["spec"])) for key in sorted(stated.features)
            ),
            table_versions=stated.table_versions,
            temperatures=stated.temperatures,
            seeds=stated.seeds,
            num_parameters=stated.num_parameters,
            created_at=stated.created_at,
            fingerprint=stated.weights_fingerprint,
            run_id=stated.run_id,
            code_version=stated.code_version,
        )
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError, ModelError, SchemaError) as error:
        reason = str(error).partition("\n")[0]
        message = f"{FACTS} of version {version!r} is damaged or of another format ({reason}); train the model again"
        raise ModelError(message) from error
