"""Markdown of texts that come from elsewhere: names of classes, reasons, sources. None of them can break a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def text(value: object) -> str:
    """A value as plain text on one line: what Markdown or HTML would take for markup is escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def code(value: object) -> str:
    """A value as code on one line."""
    return f"`{' '.join(str(value).split()).replace('`', chr(39))}`"


def bullets(lines: Iterable[str]) -> str:
    """A list; the lines are Markdown already."""
    return "\n".join(f"- {line}" for line in lines)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain texts; whole numbers get thousands separators."""
    lines = [header, *rows]
    cells = [f"| {' | '.join(text(f'{cell:,}' if type(cell) is int else cell) for cell in line)} |" for line in lines]
    return "\n".join([cells[0], f"|{'---|' * len(header)}", *cells[1:]])
