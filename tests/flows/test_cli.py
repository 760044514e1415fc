"""The command line: help, options from flags, files and forms, and what a program reads of it."""

from __future__ import annotations

import inspect
import json
import shlex
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import pytest

from features.store import Store, read_table
from flows import stages
from flows.cli import COMMANDS, _config, build_parser
from flows.forms import with_parameters_of
from pipelines.options import config_from_mapping, option_fields
from pipelines.waves import Summary
from tests.flows.conftest import NUM_MEDIA, Outcome, content_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Triptych = Callable[..., Outcome]

CONFIGURED = [name for name, command in COMMANDS.items() if command.config is not None]


def test_help_loads_nothing_heavy() -> None:
    """Neither does a wrong path."""
    script = (
        "import sys\nfrom flows.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split("LOADED ")[1].split())
    heavy = {"torch", "apache_beam", "prefect", "pyarrow", "deltalake", "numpy", "av", "cv2", "librosa", "duckdb"}
    assert "flows.cli" in loaded
    assert not loaded & heavy


def test_help_names_every_command(triptych: Triptych) -> None:
    outcome = triptych("--help")
    assert outcome.status == 0
    for name, command in COMMANDS.items():
        assert name in outcome.out
        assert command.text.split()[0] in outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_that_holds(name: str, triptych: Triptych) -> None:
    outcome = triptych(name, "--help")
    example = COMMANDS[name].example
    assert outcome.status == 0
    assert f"example: {example}" in " ".join(outcome.out.split())
    program, *words = shlex.split(example)
    assert program == "triptych"
    assert build_parser().parse_args(words).command == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_module(name: str) -> None:
    module = __import__(f"flows.commands.{COMMANDS[name].module}", fromlist=["run"])
    assert callable(module.run)


def another_value(kind: Any, default: Any) -> Any:
    """A value of an option's type that is not its default."""
    if get_origin(kind) is tuple:
        return ("one", "two")
    if get_origin(kind) is Literal:
        return next(value for value in get_args(kind) if value != default)
    if kind is bool:
        return not default
    return {int: lambda: default + 1, float: lambda: default + 0.5, str: lambda: f"1{default}"}[kind]()


@pytest.mark.parametrize("name", CONFIGURED)
def test_every_option_is_a_flag(name: str) -> None:
    command = COMMANDS[name]
    assert command.config is not None
    values, words, positional = {}, [name], []
    for option, (item, kind) in option_fields(command.config).items():
        values[option] = value = another_value(kind, item.default)
        each = [str(part) for part in (value if isinstance(value, tuple) else [value])]
        if kind is bool:
            words.append("--" + option.replace("_", "-"))
        elif item.metadata["positional"]:
            positional += each
        else:
            words += [word for part in each for word in ("--" + option.replace("_", "-"), part)]
    arguments = build_parser().parse_args([*words, *positional])
    assert _config(command, arguments, {}) == command.config(**values)


@pytest.mark.parametrize("name", CONFIGURED)
def test_every_option_is_a_field_of_the_form(name: str) -> None:
    config = COMMANDS[name].config
    assert config is not None

    def flow(**options: Any) -> dict[str, Any]:
        """A flow."""
        return options

    form = inspect.signature(with_parameters_of(config, store=(str, "here"))(flow)).parameters
    assert next(iter(form)) == "store"
    assert set(form) - {"store"} == {item.name for item in fields(config)}
    kinds = {parameter.annotation for parameter in form.values()}
    assert all(kind in (str, int, float, bool, list[str]) or get_origin(kind) is Literal for kind in kinds), (
        "flat fields"
    )
    defaults = {option: parameter.default for option, parameter in form.items() if option != "store"}
    assert config_from_mapping(config, json.loads(json.dumps(defaults))) == config()
    for option, (item, _) in option_fields(config).items():
        assert f"{option}: {item.metadata['help']}" in (flow.__doc__ or "")


@pytest.mark.parametrize("name", CONFIGURED)
def test_every_option_is_a_key_of_the_file(name: str) -> None:
    command = COMMANDS[name]
    assert command.config is not None
    options = option_fields(command.config).items()
    values = {option: another_value(kind, item.default) for option, (item, kind) in options}
    table = {option: list(value) if isinstance(value, tuple) else value for option, value in values.items()}
    assert _config(command, build_parser().parse_args([name]), {name: table}) == command.config(**values)


def test_a_flag_wins_over_the_file(tmp_path: Path, triptych: Triptych, videos: Path) -> None:
    """The file gives the store and a wrong quality; the flag mends it, and the sources are then found missing."""
    path = tmp_path / "triptych.toml"
    path.write_text(f"store = '{tmp_path}/made'\n[ingest]\njpeg_quality = 0\nsources = ['{tmp_path}/none']\n")
    assert "jpeg_quality" in triptych("--config", path, "ingest").err
    assert f"{tmp_path}/none" in triptych("--config", path, "ingest", "--jpeg-quality", "5").err
    assert not (tmp_path / "made").exists()


def test_the_store_is_named_by_flag_file_environment_or_folder(
    tmp_path: Path, triptych: Triptych, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("flag", "file", "env", "triptych-store"):
        Store.create(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIPTYCH_STORE", raising=False)

    def root(*argv: str) -> str:
        return str(json.loads(triptych(*argv, "status", "--json").out)["store"])

    assert root() == str(tmp_path / "triptych-store")
    monkeypatch.setenv("TRIPTYCH_STORE", "env")
    assert root() == str(tmp_path / "env")
    (tmp_path / "triptych.toml").write_text("store = 'file'\n")
    assert root("--config", "triptych.toml") == str(tmp_path / "file")
    assert root("--config", "triptych.toml", "--store", "flag") == str(tmp_path / "flag")
    after = triptych("--config", "triptych.toml", "status", "--json", "--store", "flag")
    assert json.loads(after.out)["store"] == str(tmp_path / "flag")


@pytest.mark.parametrize(
    "argv",
    [("status",), ("failures",), ("show", "m03"), ("sql", "select name from media"), ("features",)],
)
def test_looking_prints_json_and_changes_nothing(argv: tuple[str, ...], triptych: Triptych, store: Store) -> None:
    before = content_of(store.path)
    plain, parsed = triptych("--store", store.root, *argv), triptych("--store", store.root, *argv, "--json")
    assert (plain.status, parsed.status) == (0, 0)
    assert plain.out != parsed.out
    assert json.loads(parsed.out)
    assert content_of(store.path) == before


def test_status_tells_done_pending_and_dead_letters(triptych: Triptych, store: Store) -> None:
    data = json.loads(triptych("--store", store.root, "status", "--json").out)
    tables = {row["table"]: (row["rows"], row["batches"]) for row in data["tables"]}
    stages = {row["stage"]: (row["done"], row["pending"]) for row in data["stages"]}
    assert tables["media"] == tables["features/looks@1"] == (NUM_MEDIA, 2)
    assert stages["ingest"] == (2, 0)
    assert stages["extract mfcc"] == (0, 2)
    assert data["num_failures"] == 1
    assert [(row["stage"], row["open"]) for row in data["failures"]] == [("ingest", 1)]


def test_strict_tells_dead_letters_by_the_exit_status(triptych: Triptych, store: Store) -> None:
    for command in ("status", "failures"):
        assert triptych("--store", store.root, command).status == 0
        assert triptych("--store", store.root, command, "--strict").status == 1
    assert triptych("--store", store.root, "failures", "--stage", "extract", "--strict").status == 0


def test_sql_shows_rows_of_whole_batches(triptych: Triptych, store: Store) -> None:
    from tests.store.making import put

    put(store, "features/looks@1", "b9", [{"media_id": "m00", "values": [0.0] * 4}], stage="other")
    count = 'select count(*) as n, count(distinct batch_id) as b from "features/looks@1"'
    assert json.loads(triptych("--store", store.root, "sql", count, "--json").out) == [{"n": NUM_MEDIA, "b": 2}]


def test_labels_are_loaded_and_counted(triptych: Triptych, store: Store, write_labels: Callable[..., Path]) -> None:
    path = write_labels("low", "high")
    first = json.loads(triptych("--store", store.root, "label", "mood", path, "--json").out)
    again = json.loads(triptych("--store", store.root, "label", "mood", path, "--json").out)
    assert (first["num_labels"], first["num_changed"], first["skipped"]) == (NUM_MEDIA, NUM_MEDIA, [])
    assert (again["num_labels"], again["num_changed"]) == (NUM_MEDIA, 0)


@pytest.mark.slow
def test_a_model_is_trained_and_scores_once(
    triptych: Triptych, store: Store, recipe: Path, write_labels: Callable[..., Path]
) -> None:
    """Train, score, score again: rows of each segment once a model; a second version stands beside the first."""

    def scored(*argv: str) -> dict[str, Any]:
        outcome = triptych("--store", store.root, "score", *argv, "--runner", "in-process", "--json")
        assert outcome.status == 0, outcome
        return dict(json.loads(outcome.out))

    assert triptych("--store", store.root, "label", "mood", write_labels("low", "high")).status == 0
    for version in (1, 2):
        trained = json.loads(triptych("--store", store.root, "train", recipe, "--json").out)
        assert trained["model"] == f"moods@{version}"
    splits = read_table(store, "splits/default").to_pylist()
    assert {row["split"] for row in splits} == {"train", "dev", "test"}
    assert len(splits) == NUM_MEDIA
    assert scored("moods@1")["rows"] == {"scores/moods@1": NUM_MEDIA}
    assert scored("moods@1")["num_batches"] == 0
    assert scored("moods")["rows"] == {"scores/moods@2": NUM_MEDIA}
    rows = read_table(store, "scores/moods@1").to_pylist()
    assert sorted(row["media_id"] for row in rows) == [f"m{index:02}" for index in range(NUM_MEDIA)]
    assert {row["prediction"] for row in rows} <= {"low", "high"}


@pytest.mark.slow
def test_a_run_is_recorded_where_it_did_something(triptych: Triptych, store: Store) -> None:
    outcome = triptych("--store", store.root, "extract", "mfcc", "--runner", "in-process", "--json")
    assert outcome.status == 0, outcome
    assert json.loads(outcome.out)["rows"] == {"features/mfcc@1": 0}
    (run,) = read_table(store, "runs").to_pylist()
    assert (run["command"], run["stage"], run["num_batches"]) == ("extract", "extract", 2)
    assert json.loads(triptych("--store", store.root, "extract", "mfcc", "--json").out)["num_batches"] == 0
    assert read_table(store, "runs").num_rows == 1


def test_goes_of_one_run_at_a_stage_are_recorded_apart(store: Store) -> None:
    for second in (1, 2):
        started_at = datetime(2026, 7, 1, 2, 3, second, tzinfo=UTC)
        stages.record_run(store, "run", "extract", "extract", started_at, Summary(second, {"frames": 5}, 0))
    rows = read_table(store, "runs").to_pylist()
    assert sorted((row["num_batches"], row["num_rows"]) for row in rows) == [(1, 5), (2, 5)]
