"""`triptych features`: the extractors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.extractors.registry import extractor_names, get_extractor, takes
from flows.cli import EXIT_DONE
from flows.console import out, out_json, table

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """List the extractors."""
    specs = [get_extractor(name).spec for name in extractor_names() if not takes(name)]
    if call.arguments.json:
        import dataclasses

        out_json([dataclasses.asdict(spec) for spec in specs])
        return EXIT_DONE
    header = ("name", "modality", "reads", "makes", "rate", "licence")
    rows = [(s.key, s.modality, s.inputs, _makes(s.output, s.shape), s.rate, s.licence) for s in specs]
    out(table(header, rows))
    for name in extractor_names():
        if which := takes(name):
            out(f"{name}:… takes a {which}")
    return EXIT_DONE


def _makes(output: str, shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) + " floats" if output == "features" else output
