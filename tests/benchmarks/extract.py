"""What the extract job costs beside the models, what a second process brings, memory and load times; in one run.

Run by `make bench`. For each default extractor: items a second of the whole job (read, decode, run, check, write,
commit; one process) over a bare loop with the same decoding, model and sizes of batches that keeps nothing. Both load
the model, are repeated in turns, and the best time counts, for these machines are noisy. To measure some:
`python -m tests.benchmarks.extract NAME…`. Recognition runs over real speech where the shared folder is there, else
over the drawn clips' sound.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.extractors.registry import default_extractors, get_extractor
from features.media.decode import decode_media
from features.store import Store, commit_files, write_file
from features.store.rows import audio_rows, frame_rows, table_of, transcript_rows
from features.synthetic.archive import make_archive
from flows.stages import plan_extract
from pipelines import extract
from pipelines.options import ExtractConfig
from pipelines.runners import pipeline_options
from pipelines.supervise import run_wave
from tests.benchmarks.feature_stores import batch_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from features.records import DecodedMedia
    from pipelines.waves import Wave

ROUNDS = 2
NUM_BATCHES = 8
TARGET, TARGET_OF_TWO = 0.90, 1.7
COPIES = {"efficientnet_lite0": 28, "mfcc": 180, "minilm": 60, "pocketsphinx": 3}
"""How often the clips stand in the store, so that an extractor has some half a minute to do, and a wave's start weighs
little."""

SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "asr"
_AUDIO = (".flac", ".wav")


class Archive(NamedTuple):
    """Decoded clips, and real speech where there is some."""

    clips: tuple[DecodedMedia, ...]
    speech: tuple[DecodedMedia, ...]


def main() -> None:
    """Print a table, and what a second process brings."""
    names = sys.argv[1:] or list(default_extractors())
    with tempfile.TemporaryDirectory() as scratch:
        archive = _decode(Path(scratch))
        for name in names:
            store = Store.create(Path(scratch) / name)
            num_media = _fill(store, name, archive)
            _compare(store, name, num_media)
            _weigh(store, name)
        if "efficientnet_lite0" in names:
            _two(Path(scratch) / "efficientnet_lite0")


def _decode(scratch: Path) -> Archive:
    made = make_archive(scratch / "archive")
    clips = [clip for clip in made.clips if clip not in (made.truncated, made.duplicate)]
    spoken = sorted(path for path in SPEECH.rglob("*") if path.suffix in _AUDIO) if SPEECH.is_dir() else []
    return Archive(tuple(map(decode_media, clips)), tuple(map(decode_media, spoken[:24])))


def _fill(store: Store, name: str, archive: Archive) -> int:
    """Batches of media with the one table that the extractor reads, under ids of their own."""
    medias = archive.speech or archive.clips if name == "pocketsphinx" else archive.clips
    numbered = list(enumerate(itertools.chain.from_iterable([medias] * COPIES.get(name, 4))))
    for batch in range(NUM_BATCHES):
        some = numbered[batch::NUM_BATCHES]
        for table, rows in _rows_of(get_extractor(name).spec.inputs, some):
            file = write_file(store, table, batch_id_of(batch), rows)
            commit_files(store, table, [file], stage="bench")
    return len(numbered)


def _rows_of(table: str, medias: Sequence[tuple[int, DecodedMedia]]) -> Iterable[tuple[str, pa.Table]]:
    ids = [hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest() for number, _ in medias]
    parts = {
        "frames": lambda media_id, media: frame_rows(media_id, media.frames),
        "audio": lambda media_id, media: audio_rows(media_id, media.audio),
        "transcripts": lambda media_id, media: transcript_rows(media_id, media.utterances),
    }
    yield table, pa.concat_tables([parts[table](own, media) for own, (_, media) in zip(ids, medias, strict=True)])
    facts = [
        {
            "media_id": own,
            "duration_us": media.info.duration_us,
            "has_video": media.info.has_video,
            "has_audio": media.info.has_audio,
            "has_text": media.info.has_text,
            "consent": "unstated",
        }
        for own, (_, media) in zip(ids, medias, strict=True)
    ]
    yield "media", table_of("media", facts)
    if table == "transcripts":  # it waits for what is heard
        yield "coverage/pocketsphinx@1", table_of("coverage/any@1", [])


def _compare(store: Store, name: str, num_media: int) -> None:
    bare: list[float] = []
    job: list[float] = []
    num_items = 0
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        num_items = _bare(store, name)
        bare.append(time.perf_counter() - begun)
        job.append(_seconds(lambda: _job(store, name)))
        _forget(store, name)
    print(
        f"{name}: {num_items} items of {num_media} media, one process, best of {ROUNDS}, the model's loading included"
    )
    print(f"  bare loop {num_items / min(bare):9.1f} items/s  {min(bare):6.2f} s")
    print(f"  job       {num_items / min(job):9.1f} items/s  {min(job):6.2f} s")
    print(f"  ratio     {min(bare) / min(job):9.3f}          (target: at least {TARGET})", flush=True)


def _bare(store: Store, name: str) -> int:
    """Read, decode, call the model batch by batch; nothing is kept."""
    extractor = get_extractor(name)
    model, num_items = extractor.load("cpu"), 0
    lineage = extract.lineage_of(store, extractor.spec, _wave(store, name))
    for batch_id in sorted(store.batches("media")):
        (given,) = extract.read_batches((batch_id, (name,)), _wave(store, name), {name: lineage})
        items = itertools.chain.from_iterable(extractor.prepare(rows) for rows in given.medias)
        while some := list(itertools.islice(items, extractor.batch_size)):
            num_items += len(extractor(model, some))
    return num_items


def _config(runner: str = "in-process", workers: int = 1) -> ExtractConfig:
    return ExtractConfig(runner=runner, workers=workers, device="cpu", wave_batches=NUM_BATCHES)  # type: ignore[arg-type]


def _wave(store: Store, name: str) -> Wave:
    return next(iter(plan_extract(_config(), store, [[name]], "bench")))


def _job(store: Store, name: str) -> None:
    config = _config()
    for wave in plan_extract(config, store, [[name]], "bench"):
        extract.run(config, wave, pipeline_options(config))


def _forget(store: Store, name: str) -> None:
    """Take the extractor's tables away, so that it owes all again."""
    spec = get_extractor(name).spec
    for table in (spec.table, spec.coverage_table):
        shutil.rmtree(store.table_path(table), ignore_errors=True)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _weigh(store: Store, name: str) -> None:
    """Load time and peak memory of a fresh process that runs the job."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        load_seconds, base_megabytes, megabytes = pool.apply(_load_and_run, (store.root, name))
    print(
        f"  model loaded in {load_seconds:.2f} s; {megabytes:.0f} MB at most, {base_megabytes:.0f} before it",
        flush=True,
    )


def _load_and_run(root: str, name: str) -> tuple[float, float, float]:
    base = _peak_megabytes()
    begun = time.perf_counter()
    get_extractor(name).load("cpu")
    load_seconds = time.perf_counter() - begun
    _job(Store.open(root), name)
    return load_seconds, base, _peak_megabytes()


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _two(root: Path) -> None:
    """Walls of the whole job by one process and by two, their start included."""
    store, walls = Store.open(root), {}
    for workers in (1, 2):
        _forget(store, "efficientnet_lite0")
        config = _config("multi", workers)
        waves = list(plan_extract(config, store, [["efficientnet_lite0"]], "bench"))
        walls[workers] = _seconds(lambda waves=waves, config=config: [run_wave(wave, config) for wave in waves])
    print(f"two processes {walls[2]:.2f} s, one {walls[1]:.2f} s, efficientnet_lite0, their start included")
    print(f"  ratio     {walls[1] / walls[2]:9.3f}          (target: at least {TARGET_OF_TWO})")


if __name__ == "__main__":
    main()
