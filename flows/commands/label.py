"""`triptych label SET FILE`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.store import Store
from features.store.labels import load_labels
from flows import stages
from flows.cli import EXIT_DONE
from flows.console import out, out_json

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """Load a label file."""
    store = Store.open(call.store)
    label_set = call.arguments.set
    if not re.fullmatch(r"[A-Za-z0-9_-]+", label_set):
        message = f"the label set {label_set!r} has characters that a table's name cannot; use letters, digits, _ and -"
        raise ConfigError(message)
    stages.require_batches(store)
    loaded = load_labels(store, label_set, Path(call.arguments.file), run_id=stages.new_run_id())
    if call.arguments.json:
        out_json(loaded._asdict())
        return EXIT_DONE
    for skipped in loaded.skipped:
        out(f"left out {skipped}")
    out(f"{loaded.num_labels} labels in labels/{label_set}, {loaded.num_changed} rows written")
    return EXIT_DONE
