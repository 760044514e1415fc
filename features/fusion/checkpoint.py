"""A model as a folder: `weights.safetensors` and `model.json`. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError, ModelError, SchemaError
from features.fusion.loaded import LoadedModel
from features.fusion.model import Architecture, FusionModel, for_prediction
from features.fusion.normalise import Scale
from features.fusion.recipe import Recipe, recipe_from_json, recipe_to_json
from features.fusion.results import Comparison
from features.fusion.settings import Place, parse
from features.spec import FeatureSpec
from features.store.lineage import code_version
from features.store.publish import fingerprint_of, write_folder
from features.store.storage import remedy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from torch import Tensor

    from features.fusion.training import Trained

FORMAT_VERSION = 2
"""Version of the folder's layout; a newer one is refused."""

WEIGHTS = "weights.safetensors"
CARD = "model.json"
EPOCHS = "epochs.csv"


class EpochOf(NamedTuple):
    """A row of `epochs.csv`: one epoch of one model that was trained, with its mean losses."""

    model: str
    seed: int
    epoch: int
    train_loss: float
    dev_loss: float


@dataclass(frozen=True, slots=True)
class _Seed:
    """How one member of the model was trained; its weights are those that `seed<seed>.` names."""

    seed: int
    epoch: int
    train_loss: float
    dev_loss: float


@dataclass(frozen=True, slots=True)
class _Card:
    """What `model.json` holds. `features` are specs as JSON, `normalisation` says where the numbers are."""

    format_version: int
    created_at: str
    recipe: Mapping[str, Any]
    architecture: Architecture
    tasks: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]]
    priors: Mapping[str, tuple[float, ...]]
    temperatures: Mapping[str, float]
    widths: Mapping[str, int]
    features: Mapping[str, Mapping[str, Any]]
    normalisation: str
    table_versions: Mapping[str, int]
    seeds: tuple[_Seed, ...]
    metrics: Mapping[str, Any]
    weights_fingerprint: str
    num_parameters: int = 0
    run_id: str = ""
    code_version: str = ""


def save_model(
    folder: Path,
    trained: Trained,
    recipe: Recipe,
    comparison: Comparison,
    *,
    feature_specs: Mapping[str, str],
    table_versions: Mapping[str, int],
    created_at: datetime,
    run_id: str = "",
    epochs: Sequence[EpochOf] = (),
) -> None:
    """Write a model's folder, whole or not at all: into a hidden sibling that is then renamed.

    Args:
        folder: Where it shall be; must not exist.
        trained: The fused model.
        recipe: What it was trained by.
        comparison: Its figures (`compare`).
        feature_specs: Spec of each feature as JSON (`FeatureSpec.to_json`), by `<name>@<version>`.
        table_versions: Versions of the tables that it learned from.
        created_at: When it was trained, UTC.
        run_id: Run that trained it.
        epochs: All epochs of all models that were trained with it, for `epochs.csv`.

    Raises:
        ModelError: The folder exists, or cannot be written.
    """
    import torch
    from safetensors.torch import save

    from features.fusion.card import CARD_FILE, model_card
    from features.fusion.facts import facts_of

    tensors = {f"seed{member.seed}.{name}": value for member in trained.members for name, value in member.state.items()}
    for modality, scale in trained.scales.items():
        tensors |= {f"scale.{modality}.{part}": torch.from_numpy(getattr(scale, part)) for part in Scale._fields}
    weights = save(tensors)
    card = _Card(
        format_version=FORMAT_VERSION,
        created_at=created_at.isoformat(),
        recipe=json.loads(recipe_to_json(recipe)),
        architecture=trained.architecture,
        tasks=tuple(task.name for task in recipe.tasks),
        classes=trained.classes,
        priors=trained.priors,
        temperatures=trained.temperatures,
        widths=trained.widths,
        features={key: _spec_entry(text) for key, text in feature_specs.items()},
        normalisation=f"{WEIGHTS}: scale.<modality>.mean, .std of the training split; per {recipe.normalisation.per}",
        table_versions=dict(table_versions),
        seeds=tuple(_Seed(item.seed, *item.best) for item in trained.members),
        metrics=json.loads(comparison.to_json()),
        weights_fingerprint=fingerprint_of(weights),
        num_parameters=sum(p.numel() for p in FusionModel(trained.architecture).parameters()),
        run_id=run_id,
        code_version=code_version(),
    )
    stated = json.dumps(asdict(card), indent=2)
    lines = [",".join(EpochOf._fields), *(",".join(map(str, epoch)) for epoch in epochs)]
    files = {
        WEIGHTS: weights,
        EPOCHS: "\n".join(lines).encode(),
        CARD_FILE: model_card(facts_of(stated, version=folder.name)).encode(),
        CARD: stated.encode(),  # last: where it stands, the model is whole
    }
    if folder.exists():
        message = f"there is a model at {str(folder)!r} already; a model is never overwritten: save under a new version"
        raise ModelError(message)
    try:
        write_folder(folder, files)
    except OSError as error:
        what = remedy(folder, error, "free space or choose another place")
        message = f"cannot write model {str(folder)!r} ({error.strerror or error}); {what}"
        raise ModelError(message) from error


def load_model(folder: Path) -> LoadedModel:
    """Read a model's folder.

    Raises:
        ModelError: There is no model, it is damaged, or a newer Triptych wrote it.
    """
    try:
        text, weights = (folder / CARD).read_text("utf-8"), (folder / WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        message = f"there is no model at {str(folder)!r} ({error.filename!r} is missing);"
        message += " train one with: triptych train RECIPE"
        raise ModelError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(folder, error) from error
    try:
        data = json.loads(text)
        _check_format(folder, data)
        card = parse(_Card, data, Place(CARD))
        recipe = recipe_from_json(json.dumps(card.recipe))
        tensors = _tensors(weights, card)
        models = for_prediction(card.architecture, _states(tensors, card))
        comparison = Comparison.from_json(json.dumps(card.metrics))
        specs = {key: json.dumps(entry["spec"]) for key, entry in card.features.items()}
    except (ValueError, KeyError, TypeError, RuntimeError, ConfigError) as error:
        raise _damaged(folder, error) from error
    return LoadedModel(
        folder=str(folder),
        recipe=recipe,
        models=models,
        modalities=card.architecture.modalities,
        classes=card.classes,
        priors=card.priors,
        temperatures=card.temperatures,
        scales=_scales(tensors, card),
        widths=card.widths,
        feature_specs=specs,
        table_versions=card.table_versions,
        comparison=comparison,
        created_at=card.created_at,
        fingerprint=card.weights_fingerprint,
        run_id=card.run_id,
        code_version=card.code_version,
    )


def _spec_entry(text: str) -> dict[str, Any]:
    try:
        return {"spec": json.loads(text), "fingerprint": FeatureSpec.from_json(text).fingerprint}
    except (ValueError, SchemaError) as error:
        message = f"a model cannot state the feature spec {text[:80]!r} ({error}); pass what FeatureSpec.to_json wrote"
        raise ModelError(message) from error


def _check_format(folder: Path, data: object) -> None:
    version = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        message = f"model {str(folder)!r} has format {version}, this Triptych reads up to {FORMAT_VERSION};"
        raise ModelError(message + " use the newer Triptych that wrote it")
    if isinstance(version, int) and version < FORMAT_VERSION:
        message = f"model {str(folder)!r} has format {version}, which this Triptych reads no more (it reads"
        message += f" {FORMAT_VERSION}); train it again: triptych train RECIPE"
        raise ModelError(message)


def _tensors(weights: bytes, card: _Card) -> dict[str, Tensor]:
    """All that stands in the file of weights, by name."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    if fingerprint_of(weights) != card.weights_fingerprint:
        message = f"{WEIGHTS} has fingerprint {fingerprint_of(weights)}, {CARD} states {card.weights_fingerprint}"
        raise ValueError(message)
    try:
        return dict(load(weights))
    except SafetensorError as error:
        message = f"{WEIGHTS}: {error}"
        raise ValueError(message) from error


def _states(tensors: Mapping[str, Tensor], card: _Card) -> list[dict[str, Tensor]]:
    """Weights of each member, by the names of its `state_dict`."""
    return [
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in (f"seed{item.seed}." for item in card.seeds)
    ]


def _scales(tensors: Mapping[str, Tensor], card: _Card) -> dict[str, Scale]:
    return {
        name: Scale(*(tensors[f"scale.{name}.{part}"].numpy() for part in Scale._fields))
        for name in card.architecture.modalities
        if f"scale.{name}.mean" in tensors
    }


def _damaged(folder: Path, error: Exception) -> ModelError:
    first_line = str(error).partition("\n")[0]
    return ModelError(f"model {str(folder)!r} is damaged ({first_line}); copy it again, or train it again")
