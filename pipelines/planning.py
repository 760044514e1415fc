"""What a nightly run would do: its sources are listed and sampled, its stages costed. Nothing in a store changes."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from features.identity import fingerprint
from features.media.options import DecodeOptions
from features.planning.copies import copies_among
from features.planning.figures import Plan, Sources
from features.planning.probes import probe_all
from features.planning.sampling import Estimate, draw_strata, estimate
from features.planning.work import Work, work_of
from features.privacy.consent import REFUSED
from features.privacy.consent_policy import policy_of
from features.privacy.consent_review import decided
from features.samples.record import loose_of
from features.sources.urls import is_url as is_source_url
from features.store import Store, unfinished_batches
from features.store.known import KnownSources
from features.store.listing import listing_of
from features.store.marker import MARKER
from features.store.plan import read_plan
from features.store.storage import is_url, place_of, root_of
from features.store.tombstones import without_forgotten
from pipelines.costing import cost_run
from pipelines.options import decode_config, fetching_of
from pipelines.sources import list_configured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from features.planning.probing import Probed
    from features.store.plan import Source
    from pipelines.options import IngestConfig, NightlyConfig


class Looked(NamedTuple):
    """What is to come in, and what a look into it told.

    Attributes:
        sources: Counts.
        estimate: What the media are.
        problems: Why sources of the sample cannot be read.
    """

    sources: Sources
    estimate: Estimate
    problems: tuple[str, ...]


def make_plan(
    config: NightlyConfig,
    root: str,
    makers: Sequence[str],
    *,
    num_sampled: int,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> tuple[Plan, tuple[str, ...]]:
    """What a run would do, and why sources of the sample cannot be read.

    Args:
        config: As for the run.
        root: Its store, which may not be there yet.
        makers: Its extractors.
        num_sampled: Sources to look into, about; 0: all.
        on_progress: Called with the sources looked into so far, and their number.

    Raises:
        ConfigError: A source is missing or empty, or the consent file is wrong.
        StoreError: The folder is no store.
    """
    store_path = root_of(root)
    sources = list(list_configured(config, store_path))
    Store.check(root)
    is_there = (place_of(root) / MARKER).is_file()
    store = Store.open(root) if is_there else None
    looked = _look(config, root, store, sources, num_sampled, on_progress)
    costs = cost_run(config, store, makers, looked.estimate.work, looked.sources)
    work = looked.estimate.work
    plan = Plan(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        sources=looked.sources,
        media=work.num_media,
        media_seconds=work.media_seconds,
        margin_seconds=looked.estimate.margin_seconds,
        video_seconds=work.video_seconds,
        audio_seconds=work.audio_seconds,
        backlog_seconds=costs.backlog_seconds,
        stages=costs.stages,
        tables=costs.tables,
        num_workers=config.num_workers,
        disk_free_bytes=None if is_url(root) else _free_bytes(Path(root)),
    )
    return plan, looked.problems


def plan_key(config: IngestConfig, root: str) -> str:
    """What a run is known by, for the plan that was made for it: store, sources, and how they are decoded."""
    sources = sorted(name if is_source_url(name) else os.path.abspath(name) for name in config.sources)  # noqa: PTH100 - as ingest
    return fingerprint([root_of(root), sources, decode_config(config), config.limit])


def _look(
    config: NightlyConfig,
    root: str,
    store: Store | None,
    listed: Sequence[Source],
    num_sampled: int,
    on_progress: Callable[[int, int], None],
) -> Looked:
    new = _new_of(store, listed, config.limit or None)
    planned = read_plan(store, unfinished_batches(store)) if store is not None else ()
    waiting = [source for batch in planned for source in batch.sources]
    policy = policy_of(Path(root), config.consent)
    coming = [decided(source, policy) for source in (*waiting, *new)]
    open_ones = [source for source in coming if source.consent != REFUSED]
    copies = copies_among(open_ones)
    # A loose sample is not looked into: it is no file, and costs next to nothing beside a video.
    fresh = [one for place, one in enumerate(open_ones) if place not in copies and loose_of(one) is None]
    found, problems = _sample(config, fresh, num_sampled, on_progress)
    sources = Sources(
        listed=len(listed),
        new=len(new),
        waiting=len(waiting),
        refused=len(coming) - len(open_ones),
        copies=len(copies),
        broken=found.num_broken,
        sampled=found.num_sampled,
        size_bytes=float(sum(source.size_bytes for source in coming)),
    )
    return Looked(sources, found, problems)


def _new_of(store: Store | None, listed: Sequence[Source], limit: int | None) -> list[Source]:
    """Sources that ingest would plan, as it would choose them."""
    if store is None or not store.has("sources"):
        return sorted(listed)[:limit]
    # By attempts, for that look keeps nothing in the store; no source that is listed has had one.
    new = listing_of(KnownSources(store, again=True).new_of(listed))
    wanted = set(without_forgotten(store, new).slice(0, limit)["uri"].to_pylist())
    return [source for source in listed if source.uri in wanted]


def _sample(
    config: NightlyConfig, sources: Sequence[Source], num_sampled: int, on_progress: Callable[[int, int], None]
) -> tuple[Estimate, tuple[str, ...]]:
    sizes = [source.size_bytes for source in sources]
    strata = draw_strata(sizes, num_sampled)
    places = [int(place) for stratum in strata for place in stratum.sampled]
    options = DecodeOptions(**json.loads(decode_config(config)))
    processes = min(config.num_workers, os.cpu_count() or 1)
    some = [sources[place] for place in places]
    probed = probe_all(
        some,
        options,
        num_processes=processes,
        on_progress=lambda done: on_progress(done, len(places)),
        fetching=fetching_of(config),
    )
    by_place = dict(zip(places, probed, strict=True))
    works = [_work(by_place.get(place), source, options) for place, source in enumerate(sources)]
    return estimate(strata, sizes, works), tuple(_problems(probed))


def _work(probed: Probed | None, source: Source, options: DecodeOptions) -> Work | None:
    if probed is None or probed.error:
        return None
    return work_of(probed, options, has_sidecar=bool(source.sidecars))


def _problems(probed: Iterable[Probed]) -> Iterable[str]:
    return (one.error for one in probed if one.error)


def _free_bytes(path: Path) -> float | None:
    """Free bytes of the disk that the store is on, or will be."""
    import shutil

    folder = next((one for one in (path.absolute(), *path.absolute().parents) if one.exists()), None)
    return None if folder is None else float(shutil.disk_usage(folder).free)
