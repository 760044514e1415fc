"""Comparison: does fusion beat each modality alone, measured on the same test rows?"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.fusion.evaluate import RESAMPLES, calibrated, compare_task, evaluate, hold_out, probe
from features.fusion.normalise import normalise, scales_of
from features.fusion.results import Comparison
from features.fusion.training import check_examples, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.evaluate import Evaluation
    from features.fusion.examples import Examples
    from features.fusion.recipe import Recipe
    from features.fusion.training import Trained, TrainingRun

ABLATIONS = ("none", "single", "full")
"""What is trained beside the fused model: nothing, each modality alone, every subset of the modalities."""

FUSED = "fused"

Plan = tuple[tuple[str, ...], tuple[str, ...]]
"""Modalities and tasks of a model that is trained."""


def compare(
    recipe: Recipe,
    examples: Examples,
    *,
    ablate: str = "single",
    run: TrainingRun | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Trained, Comparison]:
    """Train the fused model and each modality alone, and measure them on the same test rows.

    Args:
        recipe: What to train; each model is trained for all its seeds.
        examples: Labelled segments of all splits.
        ablate: Of `ABLATIONS`.
        run: Where training keeps its checkpoints, how many processes it has, whom it tells.
        on_progress: Called with the name of the model that starts, its number from 0, and how many there are.

    Returns:
        The fused model, with its temperatures, and the comparison, whose figures are that model's.

    Raises:
        ModelError: See `train`.
    """
    check_examples(recipe, examples, recipe.modalities)
    scales = scales_of(examples.inputs, examples.rows_of("train"))
    examples = replace(examples, inputs=normalise(examples.inputs, examples.own, scales, recipe.normalisation))
    fitted, of_calibration = hold_out(recipe, examples)
    plans = _plans(recipe, ablate)
    evaluations: dict[str, Evaluation] = {}
    models: dict[str, Trained] = {}
    for number, (name, (modalities, tasks)) in enumerate(plans.items()):
        if on_progress:
            on_progress(name, number, len(plans))
        own = replace(fitted, tasks={task: fitted.tasks[task] for task in tasks})
        trained = train(recipe, own, modalities=modalities, scales=scales, name=name, run=run)
        if name == FUSED:
            trained = calibrated(trained, examples, of_calibration.rows)
        models[name] = trained
        evaluations[name] = evaluate(name, trained, examples)
    fused = models[FUSED]
    probes = probe(fused, examples)
    compared = tuple(
        compare_task(task, fused, examples, evaluations, plans, probes, of_calibration) for task in examples.tasks
    )
    return fused, Comparison(
        tasks=compared,
        num_rows=tuple(len(examples.rows_of(split)) for split in ("train", "dev", "test")),
        num_test_groups=len({examples.groups[row] for row in examples.rows_of("test")}),
        seeds=recipe.training.seeds,
        resamples=RESAMPLES,
        ablate=ablate,
        left_out=dict(examples.left_out),
        transductive="" if recipe.normalisation.per == "train" else recipe.normalisation.per,
    )


def _plans(recipe: Recipe, ablate: str) -> dict[str, Plan]:
    """Modalities and tasks by the name of the model, the fused one first."""
    if ablate not in ABLATIONS:
        message = f"there is no ablation {ablate!r}; write one of {', '.join(ABLATIONS)}"
        raise ConfigError(message)
    tasks = tuple(task.name for task in recipe.tasks)
    names = recipe.modalities
    plans: dict[str, Plan] = {FUSED: (names, tasks)}
    for count in range(1, {"none": 1, "single": 2, "full": max(2, len(names))}[ablate]):
        plans |= {"+".join(some): (some, tasks) for some in combinations(names, count)}
    if len(tasks) > 1 and ablate != "none":
        plans |= {f"{FUSED}, {task} alone": (names, (task,)) for task in tasks}
    return plans
