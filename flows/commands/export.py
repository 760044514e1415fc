"""`triptych export NAME… --out FOLDER`: rows of a table, or features aligned with segments, as files."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.export.options import check_options
from features.export.run import export
from features.store import Store
from flows.cli import EXIT_DONE
from flows.console import out, out_json, progress, say, size_text
from flows.finding import find_media

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.export.options import ExportOptions
    from features.export.run import Exported
    from flows.cli import Call


def run(call: Call) -> int:
    """Write the files, or go on where an earlier run stopped."""
    given: ExportOptions = call.config
    check_options(given)
    store = Store.open(call.store)
    options = _resolved(store, given)
    with ExitStack() as stack:
        exported = export(store, options, _teller(stack, options))
    if call.arguments.json:
        out_json(_to_json(store, options, exported))
    else:
        out("\n".join(_lines(options, exported)))
    if exported.has_forgotten:
        say(f"triptych: media were forgotten since this export; it may show them: {_anew(store, options)}")
    return EXIT_DONE


def _resolved(store: Store, options: ExportOptions) -> ExportOptions:
    """The options with lists told apart, and media by their identity."""
    columns = tuple(name.strip() for text in options.columns for name in text.split(",") if name.strip())
    media = tuple(sorted({find_media(store, text)["media_id"] for text in options.media}))
    return replace(options, columns=columns, media=media, batch=tuple(sorted(set(options.batch))))


def _teller(stack: ExitStack, options: ExportOptions) -> Callable[[int, int], None]:
    """Progress in batches, begun when it is known how many there are."""
    tells: list[Callable[[int], None]] = []

    def tell(done: int, total: int) -> None:
        if not tells:
            left = f", {done:,} done" if done else ""
            label = f"export {', '.join(options.names)} as {options.format}: {total:,} batches{left}"
            tells.append(stack.enter_context(progress(label, total)))
        tells[0](done)

    return tell


def _lines(options: ExportOptions, exported: Exported) -> list[str]:
    manifest = exported.manifest
    size = size_text(sum(file.size_bytes for file in manifest.files))
    what = f"{manifest.num_rows:,} rows of {manifest.num_batches:,} batches as {options.format}:"
    num_files = len(manifest.files)
    what += f" {num_files:,} file{'s' if num_files > 1 else ''}, {size}, in {Path(options.out) / 'data'}"
    lines = [f"nothing to do: this export is whole, {what}" if exported.was_done else f"exported {what}"]
    if exported.num_resumed and not exported.was_done:
        lines.append(f"went on after {exported.num_resumed:,} batches of an earlier run")
    reasons = {"refused": "media whose use was refused", "forgotten": "media that were forgotten"}
    left_out = [f"{count:,} {reasons[reason]}" for reason, count in manifest.left_out.items() if count]
    if left_out:
        lines.append(f"left out: {', '.join(left_out)}")
    if exported.newer:
        lines.append(f"newer since: {', '.join(exported.newer)}; --overwrite, or another folder, exports them")
    return lines


def _to_json(store: Store, options: ExportOptions, exported: Exported) -> dict[str, Any]:
    manifest = exported.manifest
    return {
        "store": store.root,
        "out": options.out,
        "format": options.format,
        "rows": manifest.num_rows,
        "batches": manifest.num_batches,
        "batches_resumed": exported.num_resumed,
        "was_done": exported.was_done,
        "left_out": dict(manifest.left_out),
        "size_bytes": sum(file.size_bytes for file in manifest.files),
        "files": [file._asdict() for file in manifest.files],
        "as_of": dict(manifest.as_of),
        "newer": exported.newer,
        "has_forgotten": exported.has_forgotten,
    }


def _anew(store: Store, options: ExportOptions) -> str:
    return f"triptych --store {shlex.quote(store.root)} export … --out {shlex.quote(options.out)} --overwrite"
