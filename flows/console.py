"""What people see: progress on standard error, results on standard output, tables that line up."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_MICROSECONDS = 1_000_000


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress of one wave: a bar on a terminal, else a line as it begins.

    Args:
        label: What goes on.
        total: Media to do.

    Yields:
        A function to call with the media done so far.
    """
    if not sys.stderr.isatty():
        say(label)
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(label, total=total)
        yield lambda done: bars.update(bar, completed=min(done, total))
        bars.update(bar, completed=total)


def _ignore(done: int) -> None:
    del done


def out(text: str) -> None:
    """A line of result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def out_json(data: Any) -> None:  # noqa: ANN401 - any JSON value
    """A result for a program."""
    out(json.dumps(data, indent=2, default=str, ensure_ascii=False))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as aligned text; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    numeric = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(header))]
    lines = [list(header), ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(line, widths, numeric, strict=True)).rstrip()
        for line in lines
    )


def time_text(microseconds: int | None) -> str:
    """A time as `m:ss.mmm` or `h:mm:ss.mmm`."""
    if microseconds is None:
        return "-"
    seconds, rest = divmod(microseconds, _MICROSECONDS)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{seconds:02d}.{rest // 1000:03d}"


def size_text(size_bytes: int) -> str:
    """Bytes in a unit that reads well."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def dead_letters_text(count: int, store: str) -> str:
    """The last line's word on dead letters."""
    if not count:
        return "no dead letters"
    return f"{count} dead letter{'s' if count > 1 else ''} (triptych --store {store} failures)"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).lstrip("-").isdigit() or text == "-"
