"""The command line: `triptych [--store S] [--config F.toml] COMMAND`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

from features.errors import ConfigError, TriptychError
from pipelines.options import (
    ExtractConfig,
    IngestConfig,
    NightlyConfig,
    ScoreConfig,
    config_from_mapping,
    default_of,
    option_fields,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_DONE, EXIT_WRONG_USE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 2, 3, 130
EXIT_DEAD_LETTERS = 1


class Command(NamedTuple):
    """A command: where its code is, what it takes, what `--help` says."""

    module: str
    text: str
    example: str
    config: type[Any] | None = None
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = ()


def _arg(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:  # noqa: ANN401 - as add_argument
    return names, options


COMMANDS: dict[str, Command] = {
    "demo": Command(
        "demo",
        "make a small synthetic archive, run everything through the nightly flow, write the report",
        "triptych demo triptych-demo",
        None,
        (
            _arg("folder", nargs="?", default="triptych-demo", help="folder for the archive and the store"),
            _arg("--clips", type=int, default=48, help="clips to make, at least 12"),
            _arg("--runner", choices=("in-process", "multi"), default="multi", help="as for nightly"),
        ),
    ),
    "ingest": Command(
        "ingest", "decode new sources once into frames, audio and text", "triptych ingest videos/", IngestConfig
    ),
    "extract": Command(
        "extract", "fill feature tables for all pending batches", "triptych extract mfcc", ExtractConfig
    ),
    "label": Command(
        "label",
        "load labels: uri or media, class or number, optionally a span",
        "triptych label sentiment labels.csv",
        None,
        (_arg("set", help="name of the label set"), _arg("file", help="CSV, Parquet or JSON Lines")),
    ),
    "train": Command(
        "train",
        "train a recipe, compare it with each single modality, register the model",
        "triptych train sentiment",
        None,
        (_arg("recipe", help="packaged recipe or TOML file"),),
    ),
    "score": Command(
        "score", "score pending batches, each segment once a model", "triptych score sentiment", ScoreConfig
    ),
    "predict": Command(
        "predict",
        "one video, or an image, a sound and a text, straight to a prediction, without a store",
        "triptych predict triptych-store/models/sentiment/1 clip.mp4",
        None,
        (
            _arg("model", help="model folder, or NAME[@VERSION] in the store"),
            _arg("files", nargs="+", metavar="FILE", help="a video, or an image, a sound and a text"),
            _arg("--device", default="auto", help="auto, cpu, cuda or cuda:N"),
        ),
    ),
    "nightly": Command(
        "nightly", "the whole run, here and now, as a Prefect flow", "triptych nightly videos/", NightlyConfig
    ),
    "serve": Command(
        "serve",
        "serve the nightly flow with a schedule and a form, on a Prefect server (PREFECT_API_URL, or one it starts)",
        "triptych serve videos/ --cron '0 2 * * *'",
        NightlyConfig,
        (
            _arg("--cron", default="0 2 * * *", help="schedule of the nightly run"),
            _arg("--port", type=int, default=4200, help="port of the server that it starts"),
        ),
    ),
    "status": Command("status", "what is done, pending, failed", "triptych status"),
    "failures": Command(
        "failures",
        "the dead letters, each with its reason",
        "triptych failures --stage ingest",
        None,
        (
            _arg("--stage", default="", help="only of this stage"),
            _arg("--all", action="store_true", help="closed ones too"),
        ),
    ),
    "show": Command(
        "show",
        "one media's timeline",
        "triptych show clip_000.mp4",
        None,
        (_arg("media", help="media_id, its first digits, or file name"),),
    ),
    "sql": Command(
        "sql",
        'DuckDB over the tables (quote names such as "features/mfcc@1")',
        "triptych sql 'select name, duration_us from media'",
        None,
        (_arg("query", help="SQL; every table of the store is a view"),),
    ),
    "report": Command(
        "report",
        "write the store, the models and the scores as one HTML file",
        "triptych report --out report.html",
        None,
        (_arg("--out", default="", help="default: report.html in the store"),),
    ),
    "features": Command("features", "list the extractors", "triptych features"),
    "doctor": Command("doctor", "what this machine has: device, codecs, weights, disk", "triptych doctor"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    given, beam_args = _split(given)
    parser = build_parser()
    arguments = parser.parse_args(given)
    try:
        return _dispatch(arguments, beam_args)
    except ConfigError as error:
        return _complain(error, EXIT_WRONG_USE)
    except TriptychError as error:
        return _complain(error, EXIT_FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; what was committed is kept: the same command goes on from there\n")
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="triptych",
        description="Features, fused models and scores for large video archives: each video decoded once.",
        epilog="exit status: 0 done, 1 dead letters with --strict, 2 wrong use, 3 failed; see also COMMAND --help",
    )
    parser.add_argument(
        "--store", default=argparse.SUPPRESS, help="folder of the store (TRIPTYCH_STORE; ./triptych-store)"
    )
    parser.add_argument("--config", default="", metavar="F.toml", help="TOML file: store, and a table a command")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name, help=command.text, description=command.text, epilog=f"example: {command.example}"
        )
        sub.add_argument("--store", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        sub.add_argument("--json", action="store_true", help="print the summary as JSON")
        sub.add_argument("--strict", action="store_true", help="exit with 1 where there are dead letters")
        for names, options in command.arguments:
            sub.add_argument(*names, **options)
        if command.config is not None:
            _add_options(sub, command.config)
    return parser


def _add_options(parser: argparse.ArgumentParser, config: type[Any]) -> None:
    for name, (item, kind) in option_fields(config).items():
        text = item.metadata["help"].replace("%", "%%")
        default = default_of(item)
        if item.metadata["positional"]:
            nargs = "*" if get_origin(kind) is tuple else "?"
            parser.add_argument(
                name, nargs=nargs, default=argparse.SUPPRESS, help=text, metavar=name.upper().rstrip("S")
            )
            continue
        shown = f" (default {default})" if default not in ("", (), 0) else ""
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text + shown}
        if get_origin(kind) is tuple:
            options |= {"action": "append", "metavar": name.upper()}
        elif get_origin(kind) is Literal:
            options |= {"choices": get_args(kind)}
        else:
            options |= {"type": kind, "metavar": kind.__name__.upper()}
        parser.add_argument("--" + name.replace("_", "-"), **options)


def _split(given: list[str]) -> tuple[list[str], list[str]]:
    """Our arguments, and Beam's own after `--`."""
    if "--" not in given:
        return given, []
    cut = given.index("--")
    return given[:cut], given[cut + 1 :]


def _dispatch(arguments: argparse.Namespace, beam_args: list[str]) -> int:
    command = COMMANDS[arguments.command]
    settings = _read_config(arguments.config)
    store = getattr(arguments, "store", None) or settings.pop("store", None)
    store = store or os.environ.get("TRIPTYCH_STORE") or "./triptych-store"
    if not isinstance(store, str):
        message = f"store in {arguments.config!r} must be a path, not {store!r}"
        raise ConfigError(message)
    config = _config(command, arguments, settings)
    module = import_module(f"flows.commands.{command.module}")
    status: int = module.run(Call(store, arguments, config, tuple(beam_args)))
    return status


class Call(NamedTuple):
    """What a command gets."""

    store: str
    arguments: argparse.Namespace
    config: Any
    beam_args: tuple[str, ...]


def _read_config(path: str) -> dict[str, Any]:
    if not path:
        return {}
    import tomllib
    from pathlib import Path

    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"cannot read the configuration {path!r} ({error}); give a TOML file"
        raise ConfigError(message) from error
    for key in settings:
        if key != "store" and key not in COMMANDS:
            message = f"unknown key {key!r} in {path!r}; it takes store, and a table a command: {', '.join(COMMANDS)}"
            raise ConfigError(message)
    return settings


def _config(command: Command, arguments: argparse.Namespace, settings: dict[str, Any]) -> Any:  # noqa: ANN401
    table = settings.get(arguments.command, {})
    if not isinstance(table, dict):
        message = f"{arguments.command!r} in {arguments.config!r} must be a table, not {table!r}"
        raise ConfigError(message)
    if command.config is None:
        if table:
            message = (
                f"{arguments.command!r} takes no options from {arguments.config!r} ({', '.join(table)}); use flags"
            )
            raise ConfigError(message)
        return None
    known = option_fields(command.config)
    flags = {name: value for name, value in vars(arguments).items() if name in known and value not in (None, [])}
    return config_from_mapping(command.config, {**table, **flags})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("triptych")
    except PackageNotFoundError:
        return "unknown"


def _complain(error: TriptychError, status: int) -> int:
    sys.stderr.write(f"triptych: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
