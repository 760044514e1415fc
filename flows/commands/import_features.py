"""`triptych import-features FILE --modality M --name N`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from features.store import Store
from features.store.feature_file import read_feature_file
from features.store.imports import import_features
from features.store.new_media import add_media
from flows import stages
from flows.cli import EXIT_DONE
from flows.console import out, out_json, say

if TYPE_CHECKING:
    from flows.cli import Call

_SHOWN = 5


def run(call: Call) -> int:
    """Read, place, commit."""
    arguments = call.arguments
    run_id = stages.new_run_id()
    file = read_feature_file(
        Path(arguments.file), Path(arguments.index) if arguments.index else None, arguments.columns
    )
    store = Store.create(call.store) if arguments.new_media else Store.open(call.store)
    added = add_media(store, file, run_id=run_id) if arguments.new_media else 0
    done = import_features(
        store, file, modality=arguments.modality, name=arguments.name, version=arguments.version, run_id=run_id
    )
    for line in (*done.failed[:_SHOWN], *done.skipped[:_SHOWN]):
        say(line)
    if call.arguments.json:
        out_json({**done._asdict(), "num_new_media": added})
        return EXIT_DONE
    new = f", {added} of them new" if added else ""
    out(
        f"features/{done.key}: {done.num_rows:,} vectors of {done.num_media:,} media{new}; {done.num_changed:,} changed"
    )
    if done.failed or done.skipped:
        out(f"left out: {len(done.failed)} vectors that are no features, {len(done.skipped)} media")
    out(f'name it in a recipe: name = "{done.key}", modality = "{arguments.modality}"')
    return EXIT_DONE
