"""What stages read of committed tables, and what they call themselves; known without Beam."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.fusion.segments import check_shots
from features.schema import BATCH_ID
from features.store.import_spec import IMPORT
from features.store.models import model_folder
from features.store.read import read_committed, read_table
from features.tokenizer.folder import maker_in
from features.transcripts.choice import source_rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from features.fusion.loaded import LoadedModel
    from features.spec import FeatureSpec
    from features.store import Store
    from features.store.models import ModelRef
    from pipelines.waves import Wave


def num_media(store: Store, wave: Wave) -> int:
    """Media that a wave has to do, from a log alone; of each target, where there are several."""
    table = "sources" if wave.stage == "ingest" else "media"
    wanted = set(wave.batch_ids)
    rows = store.files(table).select([BATCH_ID, "num_records"]).to_pylist()
    in_wave = sum(int(row["num_records"]) for row in rows if row[BATCH_ID] in wanted)
    return in_wave * max(1, len(wave.targets))


class BatchTables(NamedTuple):
    """What a model reads of a batch: tables without `batch_id`.

    `beside` are media of other batches, which a model that normalises per subject looks at and does not score.
    """

    batch_id: str
    media: pa.Table
    features: dict[str, pa.Table]
    transcripts: pa.Table
    shots: pa.Table
    beside: frozenset[str] = frozenset()


def extract_stage(spec: FeatureSpec) -> str:
    """Name of an extractor's stage in commits and dead letters."""
    return f"extract:{spec.key}"


def spec_of(store: Store, key: str) -> FeatureSpec | None:
    """Spec of an extractor whose output a store has, by `<name>@<version>`."""
    for table in (f"features/{key}", f"transcripts/{key}"):
        if store.has(table) and (spec := store.spec(table)) is not None:
            return spec
    return None


def maker_of(store: Store, key: str) -> str:
    """What `get_extractor` makes an extractor by, as a store knows it; else the name in `<name>@<version>`."""
    spec = spec_of(store, key)
    return maker_in(store, spec) if spec is not None else key.partition("@")[0]


def makers_of(store: Store) -> tuple[str, ...]:
    """What makes the extractors whose output a store has."""
    keys = (table.partition("/")[2] for table in store.tables() if table.startswith("coverage/"))
    makers = (maker_of(store, key) for key in keys)
    return tuple(maker for maker in makers if maker != IMPORT)  # no extractor makes them


def inputs_of(spec: FeatureSpec, recognisers: Sequence[FeatureSpec]) -> tuple[str, ...]:
    """Tables that must have a batch before the extractor may have it: for text, the recognisers' coverage."""
    return tuple(r.coverage_table for r in recognisers) if spec.inputs == "transcripts" else ()


def score_stage(ref: ModelRef) -> str:
    """Name of a model's stage in commits and dead letters."""
    return f"score:{ref.key}"


def transcript_tables(store: Store) -> tuple[str, ...]:
    """Tables that hold text: subtitles and sidecars, and what each recogniser heard."""
    return tuple(table for table in store.tables() if table == "transcripts" or table.startswith("transcripts/"))


def transcripts_of(
    store: Store, batch_ids: Sequence[str] | None, versions: Mapping[str, int] | None = None
) -> pa.Table:
    """All text of batches: subtitles, sidecars, and what recognisers heard; sorted by media and time.

    With versions, only the tables that they name.
    """
    names = [table for table in transcript_tables(store) if versions is None or table in versions]
    tables = [read_table(store, table, batch_ids=batch_ids, versions=versions) for table in names]
    rows = pa.concat_tables(tables) if tables else read_committed(store, "transcripts", batch_ids=())
    return rows.sort_by([("media_id", "ascending"), ("start_us", "ascending"), ("source", "ascending")])


def feature_keys(store: Store, ref: ModelRef) -> tuple[str, ...]:
    """Features that a model reads, checked against the store's: the same weights, the same parameters.

    Raises:
        ModelError: The model is damaged, or a feature was made otherwise.
    """
    from features.fusion.checkpoint import load_model

    return keys_of_model(store, load_model(model_folder(store, ref)))


def keys_of_model(store: Store, model: LoadedModel) -> tuple[str, ...]:
    """As `feature_keys`, of a model that is loaded.

    Raises:
        ModelError: A feature was made otherwise.
    """
    keys = tuple(feature.name for feature in model.recipe.tables)
    specs = {key: store.spec(f"features/{key}") for key in keys if store.has(f"features/{key}")}
    model.check_features({key: spec.to_json() for key, spec in specs.items() if spec is not None})
    return keys


def read_tables(
    store: Store, keys: Sequence[str], batch_ids: Sequence[str] | None, versions: Mapping[str, int] | None = None
) -> BatchTables:
    """Media, features and text of batches, or of the whole store where none are named; by default the newest."""
    media = read_table(store, "media", batch_ids=batch_ids, versions=versions)
    features = {key: read_table(store, f"features/{key}", batch_ids=batch_ids, versions=versions) for key in keys}
    return BatchTables(
        batch_ids[0] if batch_ids else "",
        media.drop_columns([BATCH_ID]),
        {key: table.drop_columns([BATCH_ID]) for key, table in features.items()},
        _best_rows(transcripts_of(store, batch_ids, versions).drop_columns([BATCH_ID])),
        read_table(store, "shots@1", batch_ids=batch_ids, versions=versions).drop_columns([BATCH_ID]),
    )


def scores_shots(store: Store, ref: ModelRef) -> bool:
    """Whether a model scores shot by shot."""
    from features.fusion.checkpoint import load_model

    return load_model(model_folder(store, ref)).recipe.score_segmentation == "shots"


def check_shots_of(store: Store, batch_ids: Sequence[str]) -> None:
    """Refuse batches in which media with video have no shots.

    Raises:
        ConfigError: There are such media.
    """
    media = read_table(store, "media", batch_ids=batch_ids, columns=["media_id", "has_video"])
    check_shots(media, read_table(store, "shots@1", batch_ids=batch_ids, columns=["media_id"]))


def _best_rows(transcripts: pa.Table) -> pa.Table:
    """Only the rows of each media's best source."""
    best = best_sources(transcripts)
    pairs = zip(transcripts["media_id"].to_pylist(), transcripts["source"].to_pylist(), strict=True)
    return transcripts.filter(pa.array([best[media_id] == source for media_id, source in pairs], pa.bool_()))


def best_sources(transcripts: pa.Table) -> dict[str, str]:
    """Where each media's best text comes from; media without text are missing."""
    by_media: dict[str, set[str]] = {}
    pairs = zip(transcripts["media_id"].to_pylist(), transcripts["source"].to_pylist(), strict=True)
    for media_id, source in pairs:
        by_media.setdefault(media_id, set()).add(source)
    return {media_id: min(sources, key=source_rank) for media_id, sources in by_media.items()}
