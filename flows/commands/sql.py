"""`triptych sql QUERY`: DuckDB over the tables' committed rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.schema import BATCH_ID, data_schema_of, schema_of
from features.store import Store
from features.store.storage import is_remote, parquet_file
from flows.cli import EXIT_DONE
from flows.console import out, out_json, table

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from flows.cli import Call

_MAX_TEXT = 60
_OF_BATCHES = ("media", "sources", "source_results", "failures", "runs", "tombstones")


def run(call: Call) -> int:
    """Run a query and print its rows."""
    import duckdb

    store = Store.open(call.store)
    with connect(store) as connection:
        try:
            result = connection.execute(call.arguments.query)
            names = [column[0] for column in result.description or ()]
            rows = result.fetchall()
        except duckdb.Error as error:
            reason = " ".join(str(error).split())
            message = (
                f"DuckDB refused {call.arguments.query!r} ({reason}); tables: {', '.join(store.tables()) or 'none'}"
            )
            raise ConfigError(message) from error
    if call.arguments.json:
        out_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        out(table(names, [[_short(value) for value in row] for row in rows]))
    return EXIT_DONE


def connect(store: Store) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in which each table is a view of the rows of whole batches.

    A view reads the files that the log lists now; a batch that `media` does not list is not shown.
    """
    import duckdb

    connection = duckdb.connect()
    if is_remote(store.path):
        connection.register_filesystem(store.path.fs)  # type: ignore[attr-defined] # it is a UPath
    for name in store.tables():
        paths = [store.table_path(name) / path for path in store.files(name)["path"].to_pylist()]
        source = _rows_of(name, paths) if paths else _nothing(name)
        connection.execute(f'CREATE VIEW "raw:{name}" AS SELECT * FROM {source}')  # noqa: S608 - names are ours
    media = (
        '(SELECT batch_id, media_id FROM "raw:media")'
        if "media" in store.tables()
        else "(SELECT NULL AS batch_id, NULL AS media_id WHERE FALSE)"
    )
    for name in store.tables():
        whole = "" if name in _OF_BATCHES else f" SEMI JOIN {media} AS whole USING (batch_id, media_id)"
        connection.execute(f'CREATE VIEW "{name}" AS SELECT * FROM "raw:{name}"{whole}')  # noqa: S608
    return connection


def _rows_of(name: str, paths: list[Path]) -> str:
    """Rows of files, the oldest first; columns that a newer schema added are null in the old ones."""
    oldest, newest = _missing(name, paths[0]), _missing(name, paths[-1])
    union = ", union_by_name = true" if oldest != newest else ""
    named = _list([str(path) for path in paths])
    source = f"read_parquet({named}, hive_partitioning = true, hive_types = {{'{BATCH_ID}': VARCHAR}}{union})"
    nulls = "".join(f', NULL AS "{column}"' for column in newest)
    return f"(SELECT *{nulls} FROM {source})" if nulls else source  # noqa: S608 - names are ours


def _missing(name: str, path: Path) -> list[str]:
    with parquet_file(path) as file:
        there = set(file.schema_arrow.names)
    return [column for column in data_schema_of(name).names if column not in there]


def _list(paths: list[str]) -> str:
    quoted = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    return f"[{quoted}]"


def _nothing(name: str) -> str:
    columns = ", ".join(f'NULL AS "{field.name}"' for field in schema_of(name))
    return f"(SELECT {columns} WHERE FALSE)"


def _short(value: object) -> object:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    text = str(value)
    return value if isinstance(value, int | float | None) or len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
