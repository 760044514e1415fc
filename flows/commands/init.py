"""`triptych init [FOLDER]`: a configuration, a recipe, a consent file and labels to begin with, each key explained."""

from __future__ import annotations

import inspect
import json
import shlex
import textwrap
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

from features.errors import ConfigError, StoreError
from flows.cli import EXIT_DONE
from flows.console import out, out_json
from pipelines.options import (
    DecodeConfig,
    ExtractConfig,
    InferenceConfig,
    IngestConfig,
    NightlyConfig,
    RunConfig,
    default_of,
    option_fields,
)

if TYPE_CHECKING:
    from flows.cli import Call

CONFIGURATION = "triptych.toml"
TEMPLATES = ("recipe.toml", "consent.toml", "labels.csv")
STATED = {"sources": ("videos/",), "recipe": "recipe.toml", "consent": "consent.toml"}
"""What the configuration sets; every other key stands there with its default, behind a `#`."""

SUGGESTED = {"labels": "labels.csv"}
"""What it proposes behind a `#`, for it holds only when the user has written that file."""

_SECTIONS = (IngestConfig, NightlyConfig, ExtractConfig, InferenceConfig, DecodeConfig, RunConfig)
_WIDTH = 118
_HEAD = """\
# What `triptych --config triptych.toml nightly` does. Paths are relative to where it is run.
# A key behind a # has its default. A flag of the command line goes before a key: --frame-size before frame_size.

store = "triptych-store"

# [storage]  # for a store or sources on s3://; keys stand in the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
# endpoint_url = "https://s3.example.org"
# region = "eu-central-1"
# profile = ""
# allow_http = false

[nightly]
"""


def run(call: Call) -> int:
    """Write the files, all or none, and tell what comes next."""
    folder = Path(call.arguments.folder)
    written = write_files(folder, force=call.arguments.force)
    if call.arguments.json:
        out_json({"folder": str(folder), "files": [str(path) for path in written]})
        return EXIT_DONE
    out("\n".join(f"wrote {path}" for path in written))
    out("\n".join(_next(folder)))
    return EXIT_DONE


def write_files(folder: Path, *, force: bool = False) -> list[Path]:
    """Write the four files into a folder.

    Args:
        folder: It is made where it is missing.
        force: Replace files that are there.

    Returns:
        What was written.

    Raises:
        ConfigError: One of them is there already; nothing was written.
        StoreError: The folder cannot be written to.
    """
    texts = {CONFIGURATION: configuration(), **{name: _template(name) for name in TEMPLATES}}
    there = [str(folder / name) for name in texts if (folder / name).exists()]
    if there and not force:
        message = f"{', '.join(there)} would be overwritten; name another folder, or replace what is there with --force"
        raise ConfigError(message)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"cannot write into {str(folder)!r} ({error.strerror or error}); name another folder"
        raise StoreError(message) from error
    return [folder / name for name in texts]


def configuration() -> str:
    """The configuration: every option of the nightly run, from its declaration, so that none is missing or stale."""
    known = option_fields(NightlyConfig)
    parts = [_HEAD]
    for section in _SECTIONS:
        parts.append(f"# -- {section.__doc__}\n")
        parts += [_entry(name, *known[name]) for name in known if _section_of(name) is section]
    return "\n".join(parts)


def _section_of(name: str) -> type[RunConfig]:
    """The configuration that declares an option first: the last of the line that knows it."""
    owners = [kind for kind in NightlyConfig.__mro__ if name in inspect.get_annotations(kind)]
    found: type[RunConfig] = owners[-1]
    return found


def _entry(name: str, item: Any, kind: Any) -> str:  # noqa: ANN401 - a dataclass field and its type
    text = item.metadata["help"]
    if get_origin(kind) is tuple:
        text += "; a list"
    words = textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
    value = STATED.get(name, SUGGESTED.get(name, default_of(item)))
    line = f"{name} = {_toml(value)}"
    if name in SUGGESTED:
        words += f"\n# (take the # away once {value} names your own videos)"
    return f"{words}\n{line if name in STATED else f'# {line}'}\n"


def _toml(value: object) -> str:
    """Texts, whole numbers, booleans and lists of texts look in TOML as in JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _template(name: str) -> str:
    return resources.files("flows").joinpath("templates", name).read_text("utf-8")


def _next(folder: Path) -> list[str]:
    videos, labels = STATED["sources"][0], SUGGESTED["labels"]
    lines = [
        f"put your videos into {videos}, or name their folder in {CONFIGURATION}",
        f"say what they are in {labels}, then take the # from labels in {CONFIGURATION}",
        "then:" if folder == Path() else f"then, in {shlex.quote(str(folder))}:",
    ]
    commands = (f"plan {videos}", "nightly", "status")
    return [*lines, *(f"  triptych --config {CONFIGURATION} {command}" for command in commands)]
