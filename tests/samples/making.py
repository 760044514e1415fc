"""A small archive of images, sounds and texts, and manifests of it."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

RATE_HZ = 16_000


def write_image(path: Path, grey: int = 120, size: tuple[int, int] = (64, 48)) -> Path:
    """A picture with an edge in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (grey, grey, grey))
    image.paste((255 - grey, 30, grey), (0, 0, size[0] // 2, size[1] // 2))
    image.save(path)
    return path


def write_sound(path: Path, hertz: float = 300, seconds: float = 1.5) -> Path:
    """A tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * times), RATE_HZ)
    return path


def write_animation(path: Path, times_ms: Sequence[int] = (500, 1000, 1500)) -> Path:
    """An animation of plain colours; a PNG, GIF or WebP."""
    colours = [(250 - 60 * number, 60 * number, 40) for number in range(len(times_ms))]
    first, *others = (Image.new("RGB", (64, 48), colour) for colour in colours)
    first.save(path, save_all=True, append_images=others, duration=list(times_ms))
    return path


def write_manifest(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows as CSV, Parquet or JSON Lines, by the suffix."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows]), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
    return path
