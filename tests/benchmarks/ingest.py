"""What the ingest job costs beside decoding, and what a second worker brings, in one run.

Run by `make bench`.

- Clips: the job's CPU time over a bare PyAV loop that makes the same pictures and sound and keeps nothing. The job
  also plans, hashes, checks, starts a decoding process, writes Parquet and commits. Each is repeated and the best time
  counts, for these machines are noisy.
- Video: 30 minutes, ingested by the job, over the bare decode of the same files, in turns; and two workers' time over
  one's for 90 minutes, the start of all processes (some five seconds) included.
"""

from __future__ import annotations

import io
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import soundfile

from features.media.decode import decode_media
from features.media.sandbox import close_sandboxes
from features.synthetic.archive import make_archive
from flows.stages import plan_ingest
from pipelines import ingest
from pipelines.options import IngestConfig
from pipelines.runners import pipeline_options
from pipelines.supervise import run_wave

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from features.records import AudioChunk, Frame

ROUNDS = 5
TARGET = 1.15
VIDEOS = 6
VIDEOS_OF_WORKERS = 18
MINUTES = 5
WIDTH, HEIGHT = 1280, 720
ROUNDS_OF_VIDEO = 2
TARGET_OF_VIDEO = 1.10
TARGET_OF_WORKERS = 1.8


def main() -> None:
    """Print times and their ratios."""
    cv2.setNumThreads(1)
    _clips()
    _videos()


def _videos() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        videos = Path(scratch) / "videos"
        _make_videos(videos)
        bare, job = [], []
        for number in range(ROUNDS_OF_VIDEO):
            bare.append(_cpu_seconds(lambda: _bare_decode(videos)))
            root = Path(scratch) / f"store-of-round-{number}"
            job.append(_cpu_seconds(lambda root=root: _ingest(videos, root)))
        _make_copies(videos, VIDEOS_OF_WORKERS)
        walls = {}
        for workers in (1, 2):
            begun = time.monotonic()
            _run_night(videos, Path(scratch) / f"store-{workers}", workers)
            walls[workers] = time.monotonic() - begun
    print(
        f"bare decode      {min(bare):7.2f} CPU s  (best of {ROUNDS_OF_VIDEO}; {VIDEOS} videos of {MINUTES} minutes, "
        f"{WIDTH}x{HEIGHT}, H.264)"
    )
    print(f"ingest job       {min(job):7.2f} CPU s")
    print(f"ratio            {min(job) / min(bare):7.3f}        (target: at most {TARGET_OF_VIDEO})")
    minutes = VIDEOS_OF_WORKERS * MINUTES
    print(f"two workers      {walls[2]:7.2f} s, one {walls[1]:.2f} s  ({minutes} minutes of such video)")
    print(
        f"ratio            {walls[1] / walls[2]:7.3f}        (target: at least {TARGET_OF_WORKERS}, with their start)"
    )


def _make_videos(folder: Path) -> None:
    """One video, and copies of it with another comment each, which are other bytes."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 255, (HEIGHT, WIDTH + 512, 3), np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 4)
    first = folder / "video_0.mp4"
    with av.open(str(first), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = output.add_stream("aac", rate=48_000)
        for index in range(MINUTES * 60 * 25):
            left = int(256 + 250 * np.sin(index / 40))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:, left : left + WIDTH]), format="rgb24")
            output.mux(video.encode(frame))
        time_s = np.arange(48_000) / 48_000
        for second in range(MINUTES * 60):
            tone = (8000 * np.sin(2 * np.pi * (200 + second) * time_s)).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts = 48_000, second * 48_000
            output.mux(audio.encode(sound))
        for stream in (video, audio):
            output.mux(stream.encode(None))
    _make_copies(folder, VIDEOS)


def _make_copies(folder: Path, count: int) -> None:
    """Up to so many videos in all."""
    content = (folder / "video_0.mp4").read_bytes()
    for number in range(len(list(folder.iterdir())), count):
        box = f"video {number}".encode()
        more = (8 + len(box)).to_bytes(4, "big") + b"free" + box
        (folder / f"video_{number}.mp4").write_bytes(content + more)


def _bare_decode(videos: Path) -> None:
    for path in sorted(videos.iterdir()):
        decode_media(path, sink=_Nowhere())


class _Nowhere:
    """A sink that keeps nothing."""

    def add_frame(self, frame: Frame) -> None:
        """Drop it."""

    def add_chunk(self, chunk: AudioChunk) -> None:
        """Drop it."""


def _run_night(videos: Path, root: Path, workers: int) -> None:
    config = IngestConfig(
        sources=(str(videos),), runner="multi", workers=workers, batch_sources=1, wave_batches=VIDEOS_OF_WORKERS
    )
    _, waves = plan_ingest(config, str(root), "bench")
    for wave in waves:
        run_wave(wave, config)


def _clips() -> None:
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
    """CPU seconds of this process and of those that it has started, the decoding ones too."""
    before = _cpu_so_far()
    work()
    close_sandboxes()  # a process counts when it has ended
    return _cpu_so_far() - before


def _cpu_so_far() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


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
