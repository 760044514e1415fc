"""`triptych demo [DIR]`: a synthetic archive through the whole nightly flow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.fusion.checkpoint import load_model
from features.store import Store, read_table
from features.store.models import find_model, model_folder
from features.store.store import count_rows
from features.synthetic.archive import NOTE, make_archive
from flows.cli import EXIT_DONE
from flows.commands.nightly import run_here
from flows.comparison import comparison_json, comparison_text
from flows.console import dead_letters_text, out, out_json, say, table
from pipelines.options import NightlyConfig

if TYPE_CHECKING:
    from features.fusion.results import Comparison
    from flows.cli import Call
    from flows.outcome import NightlyOutcome

_FEWEST_CLIPS = 12


def run(call: Call) -> int:
    """Make the archive, run everything, and print what came of it."""
    started = time.monotonic()
    folder = Path(call.arguments.folder).absolute()
    if call.arguments.clips < _FEWEST_CLIPS:
        message = f"--clips must be at least {_FEWEST_CLIPS}, not {call.arguments.clips}"
        raise ConfigError(message)
    store = Store.create(folder / "store")
    say(f"making {call.arguments.clips} clips in {folder / 'archive'}")
    archive = make_archive(folder / "archive", num_clips=call.arguments.clips)
    made = time.monotonic() - started
    config = NightlyConfig(sources=(str(archive.folder),), labels=str(archive.labels), runner=call.arguments.runner)
    outcome = run_here(store.root, config, call.beam_args)
    comparison = load_model(model_folder(store, find_model(store, "sentiment"))).comparison
    if call.arguments.json:
        out_json({**outcome.to_json(), "comparison": comparison_json(comparison), "archive_seconds": round(made, 3)})
    else:
        _print(store, outcome, comparison, made)
    return EXIT_DONE


def _print(store: Store, outcome: NightlyOutcome, comparison: Comparison, made_seconds: float) -> None:
    out(table(("what", "how many"), _counts(store)))
    out("")
    seconds = [("make the archive", made_seconds), *((stage.stage, stage.seconds) for stage in outcome.stages)]
    out(table(("stage", "seconds"), [(name, round(spent, 1)) for name, spent in seconds]))
    out("")
    out(comparison_text(comparison))
    out("")
    out(NOTE)
    out(f"report: {outcome.report}")
    out(dead_letters_text(outcome.num_failures, outcome.store))
    out(f"look around: triptych --store {outcome.store} status")


def _counts(store: Store) -> list[tuple[str, int]]:
    results = read_table(store, "source_results", columns=["status"])["status"].to_pylist()
    rows = [("media", store_rows(store, "media")), ("dead letters", store_rows(store, "failures"))]
    rows.append(("duplicates", results.count("duplicate")))
    rows += [
        (name, store_rows(store, name)) for name in store.tables() if name.startswith(("features/", "transcripts"))
    ]
    return rows


def store_rows(store: Store, name: str) -> int:
    """Rows of a table, from its log."""
    return count_rows(store, name).num_rows if store.has(name) else 0
