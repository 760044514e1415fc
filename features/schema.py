"""Schemas of all tables, one column a line with what it means; checked before every commit."""

from __future__ import annotations

import pyarrow as pa

from features.errors import SchemaError

BATCH_ID = "batch_id"
"""Partition column of every table."""

BASE_TABLES = ("frames", "audio", "transcripts")
"""Tables that decoding fills, and that every whole batch has beside `source_results` and `media`."""

OPTIONAL_TABLES = ("shots@1", "motion@1")
"""Tables that decoding fills where a batch's plan asked for it; such a batch has them, if without rows."""

TOKENS_PREFIX = "features/tokens@"
"""Tables of the ids of pieces of text; all other features are float32."""

SCHEMA_VERSION = 4
"""Version of the schemas in this file; a store of a newer one is refused, one of an older one grows as it is written.

1: the first. 2: `sources.attempt`, `tombstones.run_id` and `source_hash`, checksums in file names.
3: quality columns of `media`, `frames` and `audio`, tables `shots@1` and `motion@1`.
4: `sources.sample`, and `sources.etag` of a text that stands in a manifest.
"""

_WORDS = pa.list_(
    pa.struct([("word", pa.string()), ("start_us", pa.int64()), ("end_us", pa.int64()), ("confidence", pa.float32())])
)

_SAMPLE_TEXTS = ("video", "image", "audio", "text_file", "text", "name", "language")
_SAMPLE = pa.struct(
    [(name, pa.string()) for name in _SAMPLE_TEXTS]
    + [("subject_ids", pa.list_(pa.string())), ("recorded_at", pa.timestamp("us", tz="UTC"))]
)


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(BATCH_ID, pa.string()), *(pa.field(name, kind) for name, kind in columns)])


SOURCES = _schema(
    ("uri", pa.string()),  # absolute path or URL; of a loose sample MANIFEST#NAME
    ("size_bytes", pa.int64()),  # as listed
    ("mtime_us", pa.int64()),  # last change, microseconds since 1970 UTC; null where unknown
    ("etag", pa.string()),  # an object store's tag; hash of a text that stands in a manifest; null for files
    ("sidecars", pa.list_(pa.string())),  # subtitle files beside it
    ("consent", pa.string()),  # granted, refused, unstated: as planned
    ("config_fingerprint", pa.string()),  # of the ingest configuration
    ("planned_at", pa.timestamp("us", tz="UTC")),
    ("attempt", pa.int32()),  # times that it has been planned, this one too; null (version 1): the first
    ("sample", _SAMPLE),  # what a row of a manifest says of it; null for a file that was named by itself
)

SOURCE_RESULTS = _schema(
    ("uri", pa.string()),
    ("media_id", pa.string()),  # null where the bytes could not be read
    ("status", pa.string()),  # done, failed, duplicate; forgotten: uri is a keyed hash, media_id null
    ("finished_at", pa.timestamp("us", tz="UTC")),
)

MEDIA = _schema(
    ("media_id", pa.string()),  # hex of BLAKE2b-128 of all bytes
    ("name", pa.string()),  # file name of the source
    ("uri", pa.string()),  # source that it was decoded from
    ("container", pa.string()),  # null where nothing was decoded
    ("duration_us", pa.int64()),  # measured end of the last picture or sound
    ("width", pa.int32()),  # displayed pixels
    ("height", pa.int32()),
    ("rotation", pa.int32()),  # clockwise degrees that made the pictures upright
    ("frame_rate", pa.float64()),  # decoded frames a second
    ("sample_rate_hz", pa.int32()),  # of the source's sound
    ("has_video", pa.bool_()),
    ("has_audio", pa.bool_()),
    ("has_text", pa.bool_()),  # subtitle or sidecar
    ("language", pa.string()),
    ("consent", pa.string()),  # granted, refused, unstated
    ("subject_ids", pa.list_(pa.string())),  # people in it, pseudonyms
    ("recorded_at", pa.timestamp("us", tz="UTC")),
    ("ingested_at", pa.timestamp("us", tz="UTC")),
    ("superseded_by", pa.string()),  # media_id of newer bytes at the same uri
    ("black_share", pa.float32()),  # of its sampled pictures; null without pictures
    ("frozen_share", pa.float32()),
    ("blurred_share", pa.float32()),
    ("loudness_lufs", pa.float32()),  # integrated, EBU R 128; null where all is below the gate
    ("clipped_share", pa.float32()),  # of its samples
    ("silence_share", pa.float32()),  # of its time
    ("perceptual_hash", pa.binary()),  # hashes of some of its pictures, the same ones in a near-duplicate
)

FRAMES = _schema(
    ("media_id", pa.string()),
    ("t_us", pa.int64()),  # presentation time
    ("duration_us", pa.int64()),  # time on screen
    ("valid_start_us", pa.int64()),  # stretch that the sample stands for
    ("valid_end_us", pa.int64()),
    ("jpeg", pa.binary()),
    ("width", pa.int32()),  # of the stored picture
    ("height", pa.int32()),
    ("brightness", pa.float32()),  # mean luma, 0 to 1
    ("contrast", pa.float32()),  # standard deviation of luma
    ("sharpness", pa.float32()),  # variance of the Laplacian at a fixed size
    ("change", pa.float32()),  # mean absolute difference to the sampled picture before; null for the first
    ("picture_hash", pa.binary()),  # perceptual, 256 bits: copies differ in few
)

AUDIO = _schema(
    ("media_id", pa.string()),
    ("start_us", pa.int64()),
    ("end_us", pa.int64()),
    ("flac", pa.binary()),  # mono
    ("sample_rate_hz", pa.int32()),
    ("loudness_lufs", pa.float32()),  # integrated over the chunk; null where all is below the gate
    ("peak", pa.float32()),  # largest absolute sample, 0 to 1
    ("clipped_share", pa.float32()),  # of its samples
    ("silence_share", pa.float32()),  # of its time
)

SHOTS = _schema(
    ("media_id", pa.string()),
    ("start_us", pa.int64()),
    ("end_us", pa.int64()),
    ("begins", pa.string()),  # start, cut, fade
)

MOTION = _schema(
    ("media_id", pa.string()),
    ("start_us", pa.int64()),
    ("end_us", pa.int64()),
    ("mean", pa.float32()),  # picture heights a second
    ("p95", pa.float32()),
    ("camera", pa.float32()),  # movement that all of the picture shares
    ("num_pairs", pa.int32()),  # pairs of adjacent frames
)

TRANSCRIPTS = _schema(
    ("media_id", pa.string()),
    ("start_us", pa.int64()),
    ("end_us", pa.int64()),
    ("text", pa.string()),
    ("language", pa.string()),
    ("source", pa.string()),  # subtitle, sidecar, asr:<name>; of several also subtitle:2, sidecar:forced
    ("speaker", pa.string()),
    ("words", _WORDS),
)

FEATURES = _schema(
    ("media_id", pa.string()),
    ("start_us", pa.int64()),
    ("end_us", pa.int64()),
    ("values", pa.list_(pa.float32())),  # of the spec's shape, flattened
)

TOKENS = pa.schema([*list(FEATURES)[:-1], pa.field("values", pa.list_(pa.int32()))])  # ids of pieces

COVERAGE = _schema(
    ("media_id", pa.string()),
    ("status", pa.string()),  # ok, partial, absent, empty, failed, skipped
    ("num_rows", pa.int64()),
    ("message", pa.string()),
)

LABELS = _schema(
    ("media_id", pa.string()),
    ("start_us", pa.int64()),
    ("end_us", pa.int64()),
    ("task", pa.string()),
    ("class", pa.string()),  # null for a number
    ("number", pa.float64()),  # null for a class
    ("weight", pa.float64()),
    ("annotator", pa.string()),
)

SPLITS = _schema(
    ("group_id", pa.string()),
    ("media_id", pa.string()),
    ("split", pa.string()),  # train, dev, test
)

SCORES = _schema(
    ("media_id", pa.string()),
    ("start_us", pa.int64()),
    ("end_us", pa.int64()),
    ("task", pa.string()),
    ("prediction", pa.string()),  # class, null where abstained
    ("probabilities", pa.list_(pa.float32())),  # in the order of the model's classes
    ("abstained", pa.bool_()),  # no modality was there
    ("present", pa.list_(pa.string())),  # modalities that the prediction used
    ("contributions", pa.list_(pa.float32())),  # by modality of `present`; null where not computed
)

FAILURES = _schema(
    ("stage", pa.string()),  # ingest, extract:<key>, score:<key>
    ("media_id", pa.string()),
    ("uri", pa.string()),
    ("error", pa.string()),  # class
    ("message", pa.string()),
    ("attempts", pa.int32()),
    ("generation", pa.int32()),
    ("run_id", pa.string()),
    ("failed_at", pa.timestamp("us", tz="UTC")),
    ("closed_at", pa.timestamp("us", tz="UTC")),  # null while open
)

RUNS = _schema(
    ("run_id", pa.string()),
    ("command", pa.string()),
    ("stage", pa.string()),
    ("started_at", pa.timestamp("us", tz="UTC")),
    ("finished_at", pa.timestamp("us", tz="UTC")),
    ("num_batches", pa.int64()),
    ("num_rows", pa.int64()),
    ("num_failures", pa.int64()),
    ("seconds", pa.float64()),
    ("status", pa.string()),  # done, failed
)

TOMBSTONES = _schema(
    ("media_id", pa.string()),
    ("uri_hash", pa.string()),  # keyed hash of a place where its bytes lay; null where the batch has none
    ("source_hash", pa.string()),  # keyed hash of that place, its bytes and time of change: not planned again
    ("forgotten_at", pa.timestamp("us", tz="UTC")),
    ("run_id", pa.string()),  # run that forgot it
)

_FIXED = {
    "sources": SOURCES,
    "source_results": SOURCE_RESULTS,
    "media": MEDIA,
    "frames": FRAMES,
    "audio": AUDIO,
    "transcripts": TRANSCRIPTS,
    "shots@1": SHOTS,
    "motion@1": MOTION,
    "failures": FAILURES,
    "runs": RUNS,
    "tombstones": TOMBSTONES,
}
_FAMILIES = {
    "transcripts": TRANSCRIPTS,
    "features": FEATURES,
    "coverage": COVERAGE,
    "labels": LABELS,
    "splits": SPLITS,
    "scores": SCORES,
}


def schema_of(table: str) -> pa.Schema:
    """Schema of a table by its name, `batch_id` first.

    Args:
        table: A fixed table (`media`) or a member of a family (`features/mfcc@1`, `labels/sentiment`).

    Raises:
        SchemaError: There is no such table.
    """
    if table in _FIXED:
        return _FIXED[table]
    family, _, member = table.partition("/")
    if table.startswith(TOKENS_PREFIX):
        return TOKENS
    if member and family in _FAMILIES:
        return _FAMILIES[family]
    known = ", ".join([*_FIXED, *(f"{name}/<name>" for name in _FAMILIES)])
    message = f"there is no table {table!r}; tables are {known}"
    raise SchemaError(message)


def is_table(name: str) -> bool:
    """Whether a name is that of a table."""
    try:
        schema_of(name)
    except SchemaError:
        return False
    return True


def data_schema_of(table: str) -> pa.Schema:
    """Schema of a table's Parquet files: without the partition column."""
    schema = schema_of(table)
    return schema.remove(schema.get_field_index(BATCH_ID))


def check_rows(table: str, rows: pa.Table) -> None:
    """Refuse rows whose columns are not exactly those of the table's Parquet files.

    Raises:
        SchemaError: A column is missing, unknown, or of another type.
    """
    wanted = data_schema_of(table)
    if rows.schema.equals(wanted):
        return
    difference = [f"{field.name}: {field.type}" for field in rows.schema if field not in list(wanted)]
    missing = [field.name for field in wanted if field.name not in rows.schema.names]
    message = f"rows for table {table!r} have the wrong columns (not in it: {difference}, missing: {missing})"
    raise SchemaError(message)
