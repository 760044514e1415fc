"""The model card: what `model.json` states of a model, in Markdown, with the limits that its own figures show."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from features.fusion.figures import (
    agreement_words,
    difference_words,
    headline,
    headline_name,
    metric_fields,
    metric_words,
    result_words,
)
from features.fusion.limits import limits
from features.fusion.markdown import bullets, code, table, text
from features.fusion.recipe import RAW_INPUTS

if TYPE_CHECKING:
    from features.fusion.facts import ModelFacts
    from features.fusion.recipe import RecipeFeature
    from features.fusion.results import Calibration, TaskComparison

CARD_FILE = "card.md"
"""Name of the card in a model's folder."""

_KINDS = {
    "class": "one of several classes",
    "binary": "one of two classes",
    "multilabel": "any of several labels",
    "regression": "a number",
}


def model_card(facts: ModelFacts) -> str:
    """A model's card.

    It holds what is predicted, results with 95 % intervals, the data, the features with licences and fingerprints, the
    architecture, the training with its seeds, limits, and how the model is used.

    Args:
        facts: Of the model (`facts_of`).

    Returns:
        Markdown.

    Reference:
        Mitchell et al. (2019), Model Cards for Model Reporting, arXiv:1810.03993.
    """
    sections = (
        _head(facts),
        _predicts(facts),
        _results(facts),
        _data(facts),
        _features(facts),
        _architecture(facts),
        _training(facts),
        "## Intended use and limits\n\n" + bullets(limits(facts)),
        _use(facts),
    )
    return "\n\n".join(sections) + "\n"


def _head(facts: ModelFacts) -> str:
    made = f"Trained {facts.created_at[:19].replace('T', ' ')} UTC by Triptych {facts.code_version or '(not stated)'}"
    run = f", run {code(facts.run_id)}" if facts.run_id else ""
    recipe = f"recipe {code(facts.recipe.name)} version {facts.recipe.version}"
    identity = f"{made}{run}, from {recipe}; weights {code(facts.fingerprint)}."
    shown = bullets(text(line) for line in facts.comparison.verdict.splitlines())
    return f"# {text(facts.name)}, version {facts.version}\n\n{identity}\n\n{shown}"


def _predicts(facts: ModelFacts) -> str:
    recipe = facts.recipe
    rows = [
        (task.name, _KINDS[task.kind], ", ".join(facts.classes.get(task.name, ())) or "-", task.labels or recipe.labels)
        for task in recipe.tasks
    ]
    spans = f"It learned from segments {code(recipe.segmentation)} and scores {code(recipe.score_segmentation)}."
    absent = (
        "A modality that is absent is masked; a segment without any gets the training split's shares, and abstains."
    )
    return "\n\n".join(
        [
            "## What it predicts",
            table(("task", "kind", "classes", "label set"), rows),
            f"From {', '.join(recipe.modalities)}. {spans} {absent}",
        ]
    )


def _results(facts: ModelFacts) -> str:
    comparison = facts.comparison
    seeds = f"predictions of {len(comparison.seeds)} seeds are averaged" if len(comparison.seeds) > 1 else "one seed"
    how = (
        f"On the test split; {seeds}. Intervals are 95 %, by a bootstrap of {comparison.resamples:,} draws over groups "
        "of media that share a subject or their pictures."
    )
    return "\n\n".join(["## Results", how, *(_task(facts, task) for task in comparison.tasks)])


def _task(facts: ModelFacts, task: TaskComparison) -> str:
    kind, fields = task.kind, metric_fields(task.kind)
    train, dev, test = task.num_rows
    rows = [
        (result.name, result_words(kind, result), *(metric_words(result.test, field) for field in fields.values()))
        for result in (task.fused, *task.single, *task.subsets)
    ]
    always = f"always {task.majority_class}" if task.majority_class else "what is most frequent, or the mean"
    plain = (metric_words(task.majority, field) for field in fields.values())
    rows.append((always, headline(kind, task.majority), *plain))
    parts = [
        f"### {text(task.task)}",
        f"{train:,} train, {dev:,} dev and {test:,} test segments; {task.num_test_groups:,} test groups.",
        table(("model", f"{headline_name(kind)} (95 % interval)", *fields), rows),
        f"{text(task.verdict[:1].upper() + task.verdict[1:])}.",
    ]
    if task.absence:
        costs = [(item.name, difference_words(kind, item, sign=-1)) for item in task.absence]
        parts += [
            "What masking a modality does to the fused model:",
            table(("without", f"{headline_name(kind)} (95 % interval)"), costs),
        ]
    if task.alone:
        gains = [(item.name, difference_words(kind, item)) for item in task.alone]
        parts += ["What training the tasks together brings:", table(("over", "difference (95 % interval)"), gains)]
    parts += [f"Fused, with 95 % intervals: {agreement_words(found)}." for found in task.agreement]
    parts += [_calibration(found, apart=facts.calibrated_apart(found)) for found in task.calibration]
    return "\n\n".join(parts)


def _calibration(found: Calibration, *, apart: bool) -> str:
    whose = "that took no part in early stopping" if apart else "that early stopping looked at too"
    fitted = f"Calibration: temperature {found.temperature:.3f}, fitted on {found.num_groups} dev groups {whose}. "
    ece = f"Expected calibration error {found.ece_before:.3f} before and {found.ece:.3f} after it, "
    if found.brier_before is not None and found.brier is not None:
        ece += f"Brier score {found.brier_before:.3f} before and {found.brier:.3f} after it, "
    told = fitted + ece + f"negative log-likelihood {found.nll_before:.3f} before and {found.nll:.3f} after it."
    if not (bins := found.bins):
        return told
    rows = [
        (f"{item.low:.2f} to {item.high:.2f}", item.num_rows, f"{item.confidence:.3f}", f"{item.accuracy:.3f}")
        for item in bins
    ]
    return told + "\n\n" + table(("confidence", "test segments", "mean confidence", "share right"), rows)


def _data(facts: ModelFacts) -> str:
    comparison, recipe = facts.comparison, facts.recipe
    splits = recipe.splits
    parts = [
        "## Data",
        table(("split", "labelled segments"), list(zip(("train", "dev", "test"), comparison.num_rows, strict=True))),
        f"Splits {code(splits.name)}, seed {splits.seed}: media that share a subject or their pictures are one group, "
        f"and a group stands on one side for all tasks; {comparison.num_test_groups:,} groups in the test split.",
        "Read from these versions of tables:",
        table(("table", "version"), sorted(facts.table_versions.items())),
    ]
    if comparison.left_out:
        parts += ["Labelled segments that were left out:", table(("why", "segments"), comparison.left_out.items())]
    if comparison.transductive:
        own = f"the unlabelled rows of the segment's own {comparison.transductive}"
        parts.append(f"Transductive: vectors are normalised by {own}. Never compare these figures with inductive ones.")
    return "\n\n".join(parts)


def _features(facts: ModelFacts) -> str:
    specs = {spec.key: spec for spec in facts.specs}
    header = ("feature", "modality", "pooled by", "shape", "source", "licence of weights", "weights", "fingerprint")
    rows = []
    for item in facts.recipe.features:
        spec = specs.get(item.name)
        start = (item.name, item.modality, item.pool if item.name not in RAW_INPUTS else "-", _shape(item, facts))
        if spec is None:
            rows.append((*start, "raw input, computed on reading" if item.name in RAW_INPUTS else "-", "-", "-", "-"))
        else:
            licence = spec.licence or ("not stated" if spec.weights_fingerprint else "-")
            rows.append((*start, spec.source or spec.name, licence, spec.weights_fingerprint or "-", spec.fingerprint))
    return "\n\n".join(["## Features", table(header, rows)])


def _shape(feature: RecipeFeature, facts: ModelFacts) -> str:
    stated = {spec.key: spec.shape for spec in facts.specs} | RAW_INPUTS
    return " x ".join(map(str, stated.get(feature.name, ()))) or "-"


def _architecture(facts: ModelFacts) -> str:
    from features.fusion.configs import EncoderConfig

    recipe = facts.recipe
    rows = []
    for modality in recipe.modalities:
        encoder = recipe.encoders.get(modality, EncoderConfig())
        shape = " x ".join(map(str, facts.shapes.get(modality, ()))) or "-"
        rows.append((modality, shape, encoder.kind, encoder.size, f"{encoder.dropout:g}"))
    context = recipe.context.kind
    joined = f"Fusion: {code(recipe.fusion.kind)}. Context over a media's segments: {code(context)}."
    heads = ", ".join(f"{code(task.name)} ({task.kind})" for task in recipe.tasks)
    scale = f"Normalised per {recipe.normalisation.per}." if recipe.normalisation.per != "train" else (
        "Normalised by mean and deviation of the training split, kept in the model."
    )  # fmt: skip
    size = f" {facts.num_parameters:,} parameters a seed." if facts.num_parameters else ""
    return "\n\n".join(
        [
            "## Architecture",
            table(("modality", "input", "encoder", "size", "dropout"), rows),
            f"{joined} Heads: {heads}. {scale}{size}",
        ]
    )


def _training(facts: ModelFacts) -> str:
    training = facts.recipe.training
    stop = f"early stopping after {training.patience} epochs" if training.early_stopping else "no early stopping"
    how = (
        f"{training.optimiser}, learning rate {training.learning_rate:g} ({training.schedule}), batches of "
        f"{training.batch_size}, {training.epochs} epochs at most, {stop}, weight decay {training.weight_decay:g}, "
        f"modality dropout {training.modality_dropout:g}, subset loss {training.subset_loss:g}, "
        f"augmentation: {_augmentation(facts)}. The recipe, the seeds and the table versions repeat it."
    )
    rows = [(item.seed, item.epoch, _loss(item.train_loss), _loss(item.dev_loss)) for item in facts.seeds]
    return "\n\n".join(["## Training", how, table(("seed", "epoch kept, from 0", "train loss", "dev loss"), rows)])


def _augmentation(facts: ModelFacts) -> str:
    applied = {name: value for name, value in asdict(facts.recipe.augmentation).items() if value}
    return ", ".join(f"{code(name)} {value:g}" for name, value in applied.items()) or "none"


def _loss(value: float) -> str:
    return f"{value:.4f}"


def _use(facts: ModelFacts) -> str:
    commands = ["```sh", f"triptych predict {facts.key} clip.mp4", f"triptych score {facts.key}", "```"]
    python = [
        "```python",
        "from pathlib import Path",
        "",
        "from features.fusion.checkpoint import load_model",
        "from features.predict import options_of, predict, read_given",
        "",
        f'model = load_model(Path("STORE/models/{facts.name}/{facts.version}"))',
        'rows = predict(model, read_given([Path("clip.mp4")], options_of(model)))',
        "```",
    ]
    return "\n".join(["## How to use it", "", *commands, "", *python])
