"""Limits of a model, told from its own figures: what is not shown, what the figures cannot tell, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.fusion.figures import difference_words, headline_name
from features.fusion.markdown import code, text
from features.fusion.results import MIN_TEST_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.fusion.facts import ModelFacts
    from features.fusion.results import TaskComparison


def limits(facts: ModelFacts) -> list[str]:
    """What a user should know before trusting the model, a sentence or two each, as Markdown."""
    several = len(facts.comparison.tasks) > 1
    of_tasks = [
        f"{text(task.task)}: {line}" if several else f"{line[:1].upper()}{line[1:]}"
        for task in facts.comparison.tasks
        for line in _task(facts, task)
    ]
    return [*_general(facts), *of_tasks, *_data(facts)]


def _general(facts: ModelFacts) -> Iterator[str]:
    sets = ", ".join(code(name) for name in facts.recipe.label_sets)
    yield (
        f"Meant for media like those that {sets} labels: its figures hold for such media and such labels, and say "
        "nothing of others (another language, recording, public). It is right on average, not for each person: decide "
        "nothing about a person by it alone."
    )
    if len(facts.comparison.seeds) < 2:
        yield "Trained with one seed: how much another seed would change the figures is not known."


def _task(facts: ModelFacts, task: TaskComparison) -> Iterator[str]:
    if task.num_test_groups < MIN_TEST_GROUPS:
        yield (
            f"only {task.num_test_groups} groups in the test split, and intervals over fewer than "
            f"{MIN_TEST_GROUPS} are too narrow. More labelled media would tell."
        )
    if not task.single:
        yield "no modality was trained alone: whether fusion helps is not known (`--ablate single`)."
    elif not task.gain_shown:
        yield f"no gain over {text(task.best_single)} alone is shown; that model needs less."
    if not _beats_majority(task):
        yield "it is not shown to be better than always saying the same."
    for cost in task.absence:
        if cost.low > 0:
            words = difference_words(task.kind, cost, sign=-1)
            yield f"without {text(cost.name)} the {headline_name(task.kind)} changes by {words}."
    missing = sorted(set(_asked(facts, task.task)) - set(task.classes))
    if missing:
        yield f"it never says {', '.join(map(text, missing))}: no label held that class."
    absent = task.num_rows[2] - task.fused.num_test_present
    if absent > 0:
        yield f"{absent:,} of {task.num_rows[2]:,} test segments had no modality that it can read."
    if not all(facts.calibrated_apart(found) for found in task.calibration):
        yield "its temperature was fitted on dev groups that early stopping looked at too: it may be too sure."


def _data(facts: ModelFacts) -> Iterator[str]:
    recipe = facts.recipe
    if facts.comparison.transductive:
        yield (
            f"It needs several segments of a {facts.comparison.transductive} to normalise by; with fewer than "
            f"{recipe.normalisation.at_least} it falls back on the training split's numbers."
        )
    if recipe.allow_recognised_text:
        yield "It also learned from text that only a speech recogniser heard, with its errors."
    if recipe.include_failed:
        yield "Segments whose extraction failed are in the training split, as if the modality were absent."
    unknown = sorted(spec.key for spec in facts.specs if spec.weights_fingerprint and not spec.licence)
    if unknown:
        yield f"The weights of {', '.join(map(code, unknown))} state no licence: look it up before you pass results on."


def _asked(facts: ModelFacts, name: str) -> tuple[str, ...]:
    return next((task.classes for task in facts.recipe.tasks if task.name == name), ())


def _beats_majority(task: TaskComparison) -> bool:
    if task.kind == "regression":
        return task.majority.mae is None or task.fused.low > -task.majority.mae
    return task.majority.accuracy is None or task.fused.low > task.majority.accuracy
