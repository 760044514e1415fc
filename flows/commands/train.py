"""`triptych train RECIPE`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from features.fusion.recipe import load_recipe
from features.store import Store
from features.store.models import model_folder
from flows import stages
from flows.cli import EXIT_DONE
from flows.comparison import comparison_json, comparison_text
from flows.console import out, out_json, progress, say
from flows.training import train_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.loop import Epoch
    from features.fusion.recipe import Recipe
    from flows.cli import Call


def run(call: Call) -> int:
    """Train, compare, register."""
    recipe = load_recipe(call.arguments.recipe)
    store = Store.open(call.store)
    with _Bars(recipe) as bars:
        trained = train_recipe(
            store,
            call.arguments.recipe,
            stages.new_run_id(),
            ablate=call.arguments.ablate,
            num_processes=call.arguments.processes,
            on_progress=bars.begin,
            on_epoch=bars.epoch,
            on_problem=say,
        )
    folder = model_folder(store, trained.ref)
    if call.arguments.json:
        out_json({"model": trained.ref.key, "folder": str(folder), **comparison_json(trained.comparison)})
        return EXIT_DONE
    out(comparison_text(trained.comparison))
    out(f"registered {trained.ref.key} in {folder}")
    out(f"score the archive with it: triptych --store {store.root} score {trained.ref.name}")
    return EXIT_DONE


class _Bars(ExitStack):
    """A bar for the model that is being trained: its epochs, over all seeds."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._seeds = recipe.training.seeds
        self._epochs = recipe.training.epochs
        self._tell: Callable[[int], None] = lambda _: None

    def begin(self, name: str, number: int, count: int) -> None:
        """A model starts; the bar of the one before ends."""
        self.close()
        total = self._epochs * len(self._seeds)
        self._tell = self.enter_context(progress(f"training {name} ({number + 1} of {count})", total))

    def epoch(self, name: str, seed: int, epoch: Epoch) -> None:
        """An epoch ended."""
        del name
        self._tell(self._seeds.index(seed) * self._epochs + epoch.epoch + 1)
