"""`triptych predict MODEL FILE…`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from features.fusion.checkpoint import load_model
from features.predict import options_of, predict, read_given
from features.store import Store
from features.store.models import find_model, model_folder
from flows.cli import EXIT_DONE
from flows.console import out, out_json, say, table, time_text

if TYPE_CHECKING:
    from features.fusion.loaded import LoadedModel
    from flows.cli import Call


def run(call: Call) -> int:
    """Predict one media without a store."""
    model = _model(call)
    given = read_given([Path(name) for name in call.arguments.files], options_of(model))
    rows = predict(model, given, device=call.arguments.device, on_progress=say).to_pylist()
    for row in rows:
        row["probabilities"] = dict(zip(model.classes[row["task"]], row["probabilities"] or (), strict=False))
    if call.arguments.json:
        out_json({"media": given.name, "media_id": given.media_id, "segments": rows})
        return EXIT_DONE
    for task, classes in model.classes.items():
        header = ("start", "end", task, *classes, "from")
        out(table(header, [_line(row, classes) for row in rows if row["task"] == task]))
    return EXIT_DONE


def _model(call: Call) -> LoadedModel:
    """The model of a folder, or of the store by its name."""
    folder = Path(call.arguments.model)
    if folder.is_dir() or "/" in call.arguments.model:
        return load_model(folder)
    store = Store.open(call.store)
    return load_model(model_folder(store, find_model(store, call.arguments.model)))


def _line(row: dict[str, object], classes: tuple[str, ...]) -> list[object]:
    probabilities = row["probabilities"]
    shares = [probabilities.get(name) for name in classes] if isinstance(probabilities, dict) else []
    start, end = (time_text(value) if isinstance(value, int) else "-" for value in (row["start_us"], row["end_us"]))
    present = row["present"]
    prediction = "abstained: no modality is there" if row["abstained"] else row["prediction"]
    return [start, end, prediction, *shares, ", ".join(present) if isinstance(present, list) else "-"]
