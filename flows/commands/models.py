"""`triptych models`: the registered models, one model's card, or two models side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError, ModelError
from features.fusion.card import CARD_FILE, model_card
from features.fusion.facts import read_facts
from features.fusion.figures import (
    agreement_words,
    calibration_words,
    difference_words,
    headline_name,
    metric_fields,
    metric_words,
    result_words,
)
from features.store import Store
from features.store.models import find_model, list_models, model_folder
from flows.cli import EXIT_DONE
from flows.console import out, out_json, say, table
from flows.model_differences import Changed, differences, why_not_comparable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.fusion.facts import ModelFacts
    from features.fusion.results import TaskComparison
    from features.store.models import ModelRef
    from flows.cli import Call

_HEADER = ("model", "trained", "task", "on the test split (95 % interval)", "fusion", "train", "dev", "test")


class Listed(NamedTuple):
    """The models that can be read, and why others cannot, by `<name>@<version>`."""

    models: tuple[ModelFacts, ...]
    unreadable: dict[str, str]


def run(call: Call) -> int:
    """List the models, or those of a name; show a version's card; or compare two."""
    store, name, compared = Store.open(call.store), call.arguments.name, call.arguments.compare
    if compared:
        if name:
            message = f"models takes either a name ({name!r}) or --compare {' '.join(compared)}; leave one out"
            raise ConfigError(message)
        one, other = (read_facts(model_folder(store, find_model(store, text))) for text in compared)
        return _compare(one, other, call)
    if "@" in name:
        return _card(store, find_model(store, name), call)
    if name:
        find_model(store, name)  # an unknown name is told with the nearest right one
    return _list(_read([ref for ref in list_models(store) if not name or ref.name == name], store), call)


def _read(refs: Sequence[ModelRef], store: Store) -> Listed:
    """A model that cannot be read hides no other."""
    models, unreadable = [], {}
    for ref in refs:
        try:
            models.append(read_facts(model_folder(store, ref)))
        except ModelError as error:
            unreadable[ref.key] = str(error)
    return Listed(tuple(models), unreadable)


def _list(listed: Listed, call: Call) -> int:
    if call.arguments.json:
        out_json({"models": [_as_json(facts) for facts in listed.models], "unreadable": listed.unreadable})
        return EXIT_DONE
    rows = [_line(facts, task) for facts in listed.models for task in facts.comparison.tasks]
    if rows:
        out(table(_HEADER, rows))
    elif not listed.unreadable:
        out("no models; train one: triptych train sentiment")
    for key, reason in listed.unreadable.items():
        say(f"triptych: {key} cannot be listed: {reason}")
    return EXIT_DONE


def _line(facts: ModelFacts, task: TaskComparison) -> tuple[object, ...]:
    headline = f"{headline_name(task.kind)} {result_words(task.kind, task.fused)}"
    return (facts.key, _when(facts), task.task, headline, _fusion(task), *task.num_rows)


def _best_alone(task: TaskComparison) -> str:
    best = next((result for result in task.single if result.name == task.best_single), None)
    return "-" if best is None else f"{best.name} {result_words(task.kind, best)}"


def _fusion(task: TaskComparison) -> str:
    if not task.single:
        return "not compared"
    shown = "gain" if task.gain_shown else "no gain"
    return f"{shown} shown over {task.best_single}: {difference_words(task.kind, task.gain)}"


def _when(facts: ModelFacts) -> str:
    return facts.created_at[:16].replace("T", " ")


def _card(store: Store, ref: ModelRef, call: Call) -> int:
    """The card as it was saved with the model; made now where there is none."""
    folder = model_folder(store, ref)
    facts = read_facts(folder)
    saved = folder / CARD_FILE
    card = saved.read_text("utf-8") if saved.is_file() else model_card(facts)
    if call.arguments.json:
        out_json({**_as_json(facts), "folder": str(folder), "card": card})
    else:
        out(card.rstrip("\n"))
    return EXIT_DONE


def _compare(one: ModelFacts, other: ModelFacts, call: Call) -> int:
    changed, reasons = differences(one, other), why_not_comparable(one, other)
    if call.arguments.json:
        told = [item._asdict() for item in changed]
        out_json({"models": [_as_json(one), _as_json(other)], "not_comparable": reasons, "differences": told})
        return EXIT_DONE
    tasks = dict.fromkeys(task.task for facts in (one, other) for task in facts.comparison.tasks)
    for name in tasks:
        out(_side_by_side(name, one, other))
        out("")
    out(
        "\n".join(f"not comparable: {reason}" for reason in reasons)
        or "figures of the same labels, splits and segments"
    )
    out("")
    out(_changes(one, other, changed))
    return EXIT_DONE


def _side_by_side(name: str, one: ModelFacts, other: ModelFacts) -> str:
    found = [next((task for task in facts.comparison.tasks if task.task == name), None) for facts in (one, other)]
    kinds = dict.fromkeys(task.kind for task in found if task is not None)
    figures = [dict(_figures(task)) if task is not None else {} for task in found]
    rows = [(row, *(column.get(row, "-") for column in figures)) for row in dict.fromkeys([*figures[0], *figures[1]])]
    rows = [row for row in rows if set(row[1:]) != {"-"}]
    return table((f"{name} ({', '.join(kinds)})", one.key, other.key), rows)


def _figures(task: TaskComparison) -> list[tuple[str, str]]:
    metrics = [(label, metric_words(task.fused.test, field)) for label, field in metric_fields(task.kind).items()]
    return [
        (headline_name(task.kind), result_words(task.kind, task.fused)),
        *metrics,
        ("best alone", _best_alone(task)),
        ("fusion", _fusion(task)),
        *((f"without {cost.name}", difference_words(task.kind, cost, sign=-1)) for cost in task.absence),
        ("temperature", ", ".join(f"{found.temperature:.2f}" for found in task.calibration) or "-"),
        *(("errors without and with it", calibration_words(found)) for found in task.calibration),
        *(("with intervals", agreement_words(found)) for found in task.agreement),
        ("train, dev, test segments", ", ".join(f"{count:,}" for count in task.num_rows)),
        ("test groups", f"{task.num_test_groups:,}"),
    ]


def _changes(one: ModelFacts, other: ModelFacts, changed: Sequence[Changed]) -> str:
    if not changed:
        return "the same recipe, features and tables"
    return table(("what differs", one.key, other.key), [(item.what, item.one, item.other) for item in changed])


def _as_json(facts: ModelFacts) -> dict[str, Any]:
    stated = asdict(facts)
    comparison = stated.pop("comparison")
    for task, told in zip(facts.comparison.tasks, comparison["tasks"], strict=True):
        told |= {"headline": headline_name(task.kind), "gain_shown": task.gain_shown, "verdict": task.verdict}
    features = {spec.key: {**asdict(spec), "fingerprint": spec.fingerprint} for spec in facts.specs}
    del stated["specs"]
    return {"model": facts.key, **stated, "features": features, "comparison": comparison}
