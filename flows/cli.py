"""The command line: `triptych [--store S] [--config F.toml] COMMAND`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

from features.errors import ConfigError, TriptychError
from flows.command_table import COMMANDS, Command
from flows.storage_settings import TABLE, apply_storage
from pipelines.options import config_from_mapping, default_of, option_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_DONE, EXIT_WRONG_USE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 2, 3, 130
EXIT_DEAD_LETTERS = 1


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
    except OSError as error:
        told = _of_bucket(error)
        if told is None:
            raise
        return _complain(told, EXIT_FAILED)
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
        elif kind is bool:
            options |= {"action": "store_true"}
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
    apply_storage(settings.pop(TABLE, {}))
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
        if key not in ("store", TABLE) and key not in COMMANDS:
            tables = ", ".join((TABLE, *COMMANDS))
            message = f"unknown key {key!r} in {path!r}; it takes store, and a table a command: {tables}"
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


def _of_bucket(error: OSError) -> TriptychError | None:
    from features.store.s3 import trouble_of

    return trouble_of(error)


def _complain(error: TriptychError, status: int) -> int:
    sys.stderr.write(f"triptych: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
