"""Ingest's CPU time over a bare PyAV loop that makes the same pictures and sound of the same clips, in one run.

Run by `make bench`. The loop decodes, samples, scales, and encodes JPEG and FLAC, and keeps nothing; the job does that
and also plans, hashes, checks, writes Parquet and commits. Both run in this process on one thread; each is repeated
and the best time counts, for these machines are noisy.
"""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import soundfile

from features.synthetic.archive import make_archive
from flows.stages import plan_ingest
from pipelines import ingest
from pipelines.options import IngestConfig
from pipelines.runners import pipeline_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS = 5
TARGET = 1.15


def main() -> None:
    """Print both times and their ratio."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        archive = make_archive(Path(scratch) / "archive")
        clips = [clip for clip in archive.clips if clip not in (archive.truncated, archive.duplicate)]
        bare, job = [], []
        for number in range(ROUNDS):
            bare.append(_cpu_seconds(lambda: _bare_loop(clips)))
            root = Path(scratch) / f"store-{number}"
            job.append(_cpu_seconds(lambda root=root: _ingest(archive.folder, root)))
    ratio = min(job) / min(bare)
    print(f"bare PyAV loop   {min(bare):7.2f} CPU s  (best of {ROUNDS}, {len(clips)} clips)")
    print(f"ingest job       {min(job):7.2f} CPU s  (best of {ROUNDS}, all {len(archive.clips)} files of the archive)")
    print(f"ratio            {ratio:7.3f}        (target: at most {TARGET})")


def _cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _ingest(folder: Path, root: Path) -> None:
    config = IngestConfig(sources=(str(folder),), runner="in-process")
    _, waves = plan_ingest(config, str(root), "bench")
    for wave in waves:
        ingest.run(config, wave, pipeline_options(config))


def _bare_loop(clips: Sequence[Path]) -> None:
    for clip in clips:
        with av.open(str(clip)) as container:
            _decode(container)


def _decode(container: av.container.InputContainer) -> None:
    video = container.streams.video[0]
    video.thread_count = 1
    streams = [video, *container.streams.audio[:1]]
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    sound: list[np.ndarray] = []
    next_second = 0
    for packet in container.demux(streams):
        for frame in packet.decode():
            if isinstance(frame, av.VideoFrame):
                if frame.time is not None and frame.time >= next_second:
                    picture = frame.to_ndarray(format="bgr24")
                    cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
                    next_second += 1
            else:
                sound += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    if sound:
        sound += [part.to_ndarray()[0] for part in resampler.resample(None)]
        soundfile.write(io.BytesIO(), np.concatenate(sound), 16_000, format="FLAC", subtype="PCM_16")


if __name__ == "__main__":
    main()
