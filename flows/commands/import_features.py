"""`triptych import-features FILE --modality M --name N`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from features.store import Store
from features.store.feature_file import read_feature_file
from features.store.imports import import_features
from flows import stages
from flows.cli import EXIT_DEAD_LETTERS, EXIT_DONE
from flows.console import dead_letters_text, out, out_json, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.store.imports import Imported
    from flows.cli import Call

_SHOWN = 5


def run(call: Call) -> int:
    """Read a file of vectors, and put them into the store."""
    arguments = call.arguments
    index = Path(arguments.index) if arguments.index else None
    file = read_feature_file(Path(arguments.file), index, arguments.columns)
    store = Store.create(call.store) if arguments.new_media else Store.open(call.store)
    done = import_features(
        store,
        file,
        modality=arguments.modality,
        name=arguments.name,
        version=arguments.version,
        new_media=arguments.new_media,
        run_id=stages.new_run_id(),
    )
    if arguments.json:
        out_json({"store": store.root, **done._asdict()})
    else:
        _print(done, store.root, arguments.modality)
    return EXIT_DEAD_LETTERS if arguments.strict and done.failed else EXIT_DONE


def _print(done: Imported, root: str, modality: str) -> None:
    _say_some(done.failed)
    _say_some([f"left out {skipped}" for skipped in done.skipped])
    new = f", {done.num_new_media:,} of them new" if done.num_new_media else ""
    changed = f"{done.num_changed:,} vectors written" if done.num_changed else "nothing new"
    out(f"features/{done.key}: {done.num_rows:,} vectors of {done.num_media:,} media{new}; {changed}")
    out(f'in a recipe: name = "{done.key}", modality = "{modality}"')
    if done.failed:
        out(f"{len(done.failed):,} vectors are no features; {dead_letters_text(len(done.failed), root)}")


def _say_some(lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        say(line)
    if len(lines) > _SHOWN:
        say(f"and {len(lines) - _SHOWN:,} more")
