"""`triptych train RECIPE`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.fusion.recipe import load_recipe
from features.store import Store
from features.store.models import model_folder
from flows import stages
from flows.cli import EXIT_DONE
from flows.comparison import comparison_json, comparison_text
from flows.console import out, out_json, say
from flows.training import train_recipe

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """Train, compare, register."""
    load_recipe(call.arguments.recipe)
    store = Store.open(call.store)
    trained = train_recipe(store, call.arguments.recipe, stages.new_run_id(), on_progress=_tell)
    folder = model_folder(store, trained.ref)
    if call.arguments.json:
        out_json({"model": trained.ref.key, "folder": str(folder), **comparison_json(trained.comparison)})
        return EXIT_DONE
    out(comparison_text(trained.comparison))
    out(f"registered {trained.ref.key} in {folder}")
    out(f"score the archive with it: triptych --store {store.root} score {trained.ref.name}")
    return EXIT_DONE


def _tell(name: str, number: int, count: int) -> None:
    say(f"training {name} ({number + 1} of {count})")
