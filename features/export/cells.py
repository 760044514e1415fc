"""Rows as flat columns: a vector as one column a number, lists and structures as JSON, bytes in base 64."""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator


def flat_schema(schema: pa.Schema) -> pa.Schema:
    """Names and types of the flat columns."""
    return pa.schema([flat for field in schema for flat in _fields(field)])


def flat_rows(rows: pa.Table) -> pa.Table:
    """Rows as flat columns.

    Args:
        rows: Any rows; a vector is a list of a fixed size of numbers.

    Returns:
        Columns as `flat_schema` names them: `values_0`, `values_1`, … of a vector `values`, null where it is; times of
        day as ISO 8601; JSON of other lists and structures, in which what is not a finite number is null.
    """
    schema = flat_schema(rows.schema)
    columns = [column for field in rows.schema for column in _columns(rows[field.name].combine_chunks(), field)]
    return pa.table(columns, schema=schema)


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column is one vector of numbers a row."""
    return bool(pa.types.is_fixed_size_list(kind) and pa.types.is_primitive(kind.value_type))


def plain_value(value: Any) -> Any:  # noqa: ANN401 - any value of Arrow's
    """A value as JSON can say it: no bytes, times, or numbers that are not finite."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: plain_value(own) for key, own in value.items()}
    if isinstance(value, list):
        return [plain_value(own) for own in value]
    return value


def json_text(value: Any) -> str:  # noqa: ANN401 - any value of Arrow's
    """A value as JSON, on one line."""
    return json.dumps(plain_value(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _fields(field: pa.Field) -> Iterator[pa.Field]:
    if is_vector(field.type):
        for place in range(field.type.list_size):
            yield pa.field(f"{field.name}_{place}", field.type.value_type)
    elif _is_plain(field.type):
        yield field
    else:
        yield pa.field(field.name, pa.string())


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or (pa.types.is_primitive(kind) and not pa.types.is_temporal(kind)))


def _columns(column: pa.Array, field: pa.Field) -> Iterator[pa.Array]:
    if is_vector(field.type):
        for place in range(field.type.list_size):
            yield pc.list_element(column, place)
    elif _is_plain(field.type):
        yield column
    elif pa.types.is_temporal(field.type) or pa.types.is_binary(field.type):
        yield pa.array([plain_value(value) for value in column.to_pylist()], pa.string())
    else:
        texts = (
            json_text(value.as_py()) if value.is_valid else None for value in column
        )  # one at a time: they are large
        yield pa.array(list(texts), pa.string())
