"""What a recipe must hold beyond the types of its keys: names, ways to pool, encoders and fusions that fit."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.fusion.alignment import POOLS
from features.fusion.recipe import RAW_INPUTS
from features.fusion.segments import parse_segmentation
from features.fusion.settings import nearest

if TYPE_CHECKING:
    from features.fusion.configs import EncoderConfig
    from features.fusion.recipe import Recipe, RecipeFeature
    from features.fusion.settings import Place

_FEATURE_KEY = re.compile(r"[a-z0-9_]+@[0-9]+")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TENSOR_LARGEST = 262_144  # numbers of an outer product, 1 MB in float32


def check_recipe(recipe: Recipe, place: Place) -> None:
    """Refuse a recipe that cannot be trained, whatever the store holds.

    Raises:
        ConfigError: A value is wrong; the message names its key.
    """
    for key in ("name", "labels"):
        if not _NAME.fullmatch(getattr(recipe, key)):
            place.inside(key).refuse(f"is {getattr(recipe, key)!r}; use letters, digits, _ and - only")
    for key in ("segmentation", "score_segmentation"):
        try:
            parse_segmentation(getattr(recipe, key))
        except ConfigError as error:
            place.inside(key).refuse(f"is wrong: {error}")
    _check_tasks(recipe, place)
    _check_features(recipe, place)
    _check_encoders(recipe, place)
    _check_fusion(recipe, place)
    seeds = recipe.training.seeds
    if not seeds or len(set(seeds)) < len(seeds):
        place.inside("training.seeds").refuse(f"is {list(seeds)}; give at least one seed, each once")
    total = sum(recipe.splits.fractions.values())
    if abs(total - 1) > 1e-6:
        place.inside("splits").refuse(f"has fractions that sum to {total:g}; train, dev and test must sum to 1")


def _check_tasks(recipe: Recipe, place: Place) -> None:
    names = [task.name for task in recipe.tasks]
    if not names or len(set(names)) < len(names):
        place.inside("tasks").refuse(f"names {names}; give at least one task, each once")
    for index, task in enumerate(recipe.tasks):
        here = place.inside("task" if len(names) == 1 else f"tasks[{index}]")
        if task.labels and not _NAME.fullmatch(task.labels):
            here.inside("labels").refuse(f"is {task.labels!r}; use letters, digits, _ and - only")
        count, classes = len(task.classes), list(task.classes)
        if len(set(classes)) < count or (count == 1 and task.kind != "multilabel"):
            here.inside("classes").refuse(f"is {classes}; give two or more, each once, or none")
        if task.kind == "regression" and count:
            here.inside("classes").refuse(f"is {classes}; a regression has none: take it out")
        if task.kind == "binary" and count not in (0, 2):
            here.inside("classes").refuse(f"is {classes}; a binary task has two, the positive one second")


def _check_features(recipe: Recipe, place: Place) -> None:
    names = [feature.name for feature in recipe.features]
    if not names or len(set(names)) < len(names):
        place.inside("features").refuse(f"names {names}; give at least one feature, each once")
    for feature in recipe.features:
        if feature.name in RAW_INPUTS:
            continue
        if not _FEATURE_KEY.fullmatch(feature.name):
            hint = nearest(feature.name, list(RAW_INPUTS))
            problem = f"names {feature.name!r}; {hint}write it as name@version, such as mfcc@1, or as a raw input"
            place.inside("features").refuse(f"{problem} ({', '.join(RAW_INPUTS)})")
        _check_pool(feature, place)
    for modality in recipe.modalities:
        alone = [f.name for f in recipe.features_of(modality) if f.pool == "sequence" or f.name in RAW_INPUTS]
        if alone and len(recipe.features_of(modality)) > 1:
            others = [feature.name for feature in recipe.features_of(modality) if feature.name != alone[0]]
            problem = f"join {alone[0]!r} of modality {modality!r} with {others}; a sequence or raw input stands alone"
            place.inside("features").refuse(f"{problem}: give the others another modality, or pool it")


def _check_pool(feature: RecipeFeature, place: Place) -> None:
    parts = feature.pool.split("+")
    known = [*POOLS, "sequence"]
    for part in parts:
        if part not in known or (part == "sequence" and len(parts) > 1) or parts.count(part) > 1:
            problem = f"of {feature.name!r} has pool {feature.pool!r}; {nearest(part, known)}"
            place.inside("features").refuse(
                f"{problem}it must be sequence, or one or more of {', '.join(POOLS)}, as a+b"
            )


def _check_encoders(recipe: Recipe, place: Place) -> None:
    for modality, encoder in recipe.encoders.items():
        here = place.inside(f"encoders.{modality}")
        if modality not in recipe.modalities:
            problem = f"is for a modality without features; {nearest(modality, list(recipe.modalities))}"
            here.refuse(f"{problem}modalities are {', '.join(recipe.modalities)}")
        if encoder.kind == "transformer" and encoder.size % encoder.heads:
            here.inside("heads").refuse(f"is {encoder.heads}; it must divide size, which is {encoder.size}")
        _check_kind(recipe.features_of(modality), encoder, here)


def _check_kind(features: tuple[RecipeFeature, ...], encoder: EncoderConfig, place: Place) -> None:
    """Refuse an encoder that cannot read what it would get."""
    first = features[0]
    if encoder.kind == "cnn" and encoder.kernel % 2 == 0:
        place.inside("kernel").refuse(f"is {encoder.kernel}; a cnn takes an odd one, which has a middle")
    if first.name in RAW_INPUTS:
        if encoder.kind != "cnn":
            place.inside("kind").refuse(f"is {encoder.kind!r}; the raw input {first.name} takes cnn")
        most = min(RAW_INPUTS[first.name][:2]).bit_length() - 1
        if encoder.layers > most:
            place.inside("layers").refuse(f"is {encoder.layers}; {first.name} is halved to nothing after {most}")
    elif encoder.kind not in ("linear", "mlp") and first.pool != "sequence" and not encoder.embedding:
        problem = f"is {encoder.kind!r}, which reads a sequence, and {first.name} is pooled by {first.pool!r}"
        place.inside("kind").refuse(f"{problem}; give the feature pool = 'sequence', or take mlp or linear")


def _check_fusion(recipe: Recipe, place: Place) -> None:
    fusion, here = recipe.fusion, place.inside("fusion")
    sizes = {name: recipe.encoders[name].size if name in recipe.encoders else 32 for name in recipe.modalities}
    _check_weights(recipe, here)
    aligned = fusion.kind in ("weighted", "attention", "cross_modal") or fusion.contrastive > 0
    if aligned and len(set(sizes.values())) > 1:
        here.inside("kind").refuse(f"is {fusion.kind!r}, which needs encoders of one size; they have {sizes}")
    one = next(iter(sizes.values()))
    if fusion.kind == "cross_modal" and one % fusion.heads:
        here.inside("heads").refuse(f"is {fusion.heads}; it must divide the encoders' size, which is {one}")
    numbers = math.prod(size + 1 for size in sizes.values())
    if fusion.kind == "tensor" and numbers > _TENSOR_LARGEST:
        problem = f"is 'tensor' over encoders of sizes {sizes}: {numbers:,} numbers an example"
        here.inside("kind").refuse(f"{problem} (at most {_TENSOR_LARGEST:,}); make them smaller, or take low_rank")
    _check_context(recipe, place)


def _check_context(recipe: Recipe, place: Place) -> None:
    context = recipe.context
    if context.kind == "transformer" and context.size % context.heads:
        place.inside("context.heads").refuse(f"is {context.heads}; it must divide size, which is {context.size}")
    if context.kind == "bilstm" and context.size % 2:
        place.inside("context.size").refuse(f"is {context.size}; it must be even, a half for each way")


def _check_weights(recipe: Recipe, place: Place) -> None:
    weights = recipe.fusion.weights
    for modality in weights:
        if modality not in recipe.modalities:
            hint = nearest(modality, list(recipe.modalities))
            place.inside("weights").refuse(f"names {modality!r}; {hint}modalities are {', '.join(recipe.modalities)}")
    if weights and set(weights) != set(recipe.modalities):
        missing = sorted(set(recipe.modalities) - set(weights))
        place.inside("weights").refuse(f"lacks {missing}; give a weight for each modality, or none")
    if weights and not sum(weights.values()) > 0:
        place.inside("weights").refuse(f"is {dict(weights)}; at least one must be above 0")
