"""What decoding costs: CPU seconds against the command ffmpeg and the usual loop, memory, bytes by `--frames`.

`python -m tests.benchmarks.decode [FILE...]`: generated files, the real ones of the shared folder where there is one,
and those that are named. CPU seconds are user and system time of a child process with one thread; of ours and of the
usual loop without the start of Python and its imports, told apart: ingest pays that once a worker, which decodes many
files. Needs the command ffmpeg with libx264.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from features.records import AudioChunk, Frame

TARGET, KEYFRAMES_TARGET, MOST_MEGABYTES = 0.75, 0.2, 700
ROUNDS = 2
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "media"
REAL = ("WDA_AlexandriaOcasioCortez_000.mp4", "video1.mp4", "v_GGSY1Qvo990.mp4")
FRAMES = ("1/10s", "1/s", "5/s", "keyframes", "shots", "all")
_SOUND = "-f lavfi -i sine=frequency=300:sample_rate=48000"
_PICTURES = "-f lavfi -i testsrc2=s={size}:r={rate},noise=c0s=6:c0f=t"
_OF_FFMPEG = "-v error -nostdin -y -filter_threads 1 -threads 1 -i"
_PICTURES_OF_FFMPEG = "-q:v 3 -threads 1"
_SOUND_OF_FFMPEG = "-map 0:a:0 -ac 1 -ar 16000 -c:a pcm_s16le -threads 1"
_X264 = "-c:v libx264 -preset veryfast -bf 3 -pix_fmt yuv420p -c:a aac"


class Cost(NamedTuple):
    """CPU seconds, those of the start apart, the most memory in megabytes, and what a child printed."""

    cpu_seconds: float
    start_seconds: float
    megabytes: float
    printed: dict[str, int]


def main() -> None:
    """Print all tables."""
    if sys.argv[1:2] == ["--child"]:
        _CHILDREN[sys.argv[2]](Path(sys.argv[3]), *sys.argv[4:])
        return
    if shutil.which("ffmpeg") is None:
        print("decode: no ffmpeg on PATH, nothing to compare with")
        return
    with tempfile.TemporaryDirectory() as scratch:
        generated = _generated(Path(scratch))
        real = [_repeated(path, Path(scratch)) for name in REAL if (path := SHARED / name).is_file()]
        _compare([*generated, *real, *map(Path, sys.argv[1:])], Path(scratch))
        _memory(Path(scratch))
        _by_frames(generated[0])


def _generated(folder: Path) -> list[Path]:
    """Six minutes of H.264 with B-frames, with a keyframe every ten seconds (x264's default) and every two.

    So long that a process's start counts for little.
    """
    pictures = _PICTURES.format(size="1280x720", rate=25)
    made = []
    for name, more in {"b-frames.mp4": "", "short-gops.mp4": "-g 50"}.items():
        path = folder / name
        _ffmpeg(*f"{pictures} {_SOUND} -t 20 {_X264} {more}".split(), str(folder / f"part-{name}"))
        _ffmpeg("-stream_loop", "17", "-i", str(folder / f"part-{name}"), "-c", "copy", str(path))
        made.append(path)
    return made


def _repeated(path: Path, folder: Path) -> Path:
    """A short real file so many times over that a process's start counts for little."""
    made = folder / path.name
    _ffmpeg("-stream_loop", "59", "-i", str(path), *["-map", "0:v:0", "-map", "0:a:0?", "-c", "copy"], str(made))
    return made


def _compare(paths: Sequence[Path], scratch: Path) -> None:
    print(f"1 picture a second and 16 kHz sound: CPU seconds, the best of {ROUNDS}; ratios to ffmpeg -threads 1")
    for path in paths:
        theirs = _best(lambda path=path: _of_ffmpeg(path, scratch))
        ours, keys = (_best(lambda path=path, frames=frames: _child("ours", path, frames)) for frames in FRAMES[1:4:2])
        loop = _best(lambda path=path: _child("loop", path))
        print(f"  {path.name[-28:]:28} ffmpeg {theirs:6.2f}  OpenCV + librosa {loop:6.2f} ({loop / theirs:.2f})")
        print(f"    Triptych 1/s {ours:6.2f} ({ours / theirs:.2f}; target for B-frames: at most {TARGET})")
        print(f"    keyframes    {keys:6.2f} ({keys / theirs:.2f}; target: at most {KEYFRAMES_TARGET})", flush=True)


def _memory(folder: Path) -> None:
    """Five minutes and three hours of 1080p, of one clip of two pictures a second; keyframes alone."""
    clip = folder / "clip.mp4"
    _ffmpeg(*f"{_PICTURES.format(size='1920x1080', rate=2)} {_SOUND} -t 10 {_X264}".split(), str(clip))
    print(f"most memory at 1080p (target: at most {MOST_MEGABYTES} MB, and the same)")
    for name, times, frames in (("5 minutes", 30, "keyframes"), ("3 hours", 1080, "keyframes")):
        path = folder / "long.mp4"
        _ffmpeg("-y", "-stream_loop", str(times - 1), "-i", str(clip), "-c", "copy", str(path))
        cost = _child("ours", path, frames)
        print(f"  {name:10} {cost.megabytes:6.0f} MB  ({cost.cpu_seconds:.0f} CPU s)", flush=True)


def _by_frames(path: Path) -> None:
    """Measured on a file of six minutes, told for an hour."""
    print("an hour of 720p, scaled from six minutes: CPU seconds, pictures, megabytes of pictures and of sound")
    for frames in FRAMES:
        cost = _child("ours", path, frames)
        an_hour = 3600e6 / cost.printed["duration_us"]
        jpeg, flac = (cost.printed[kind] * an_hour / 1e6 for kind in ("jpeg", "flac"))
        print(
            f"  {frames:10} {cost.cpu_seconds * an_hour:7.0f} CPU s {cost.printed['frames'] * an_hour:8.0f} pictures "
            f"{jpeg:7.0f} MB {flac:5.0f} MB",
            flush=True,
        )


def _of_ffmpeg(path: Path, scratch: Path) -> Cost:
    small = "fps=1,scale=w=if(gt(iw\\,ih)\\,-2\\,360):h=if(gt(iw\\,ih)\\,360\\,-2)"
    command = ["ffmpeg", *_OF_FFMPEG.split(), str(path)]
    pictures = ["-map", "0:v:0", "-vf", small, *_PICTURES_OF_FFMPEG.split(), str(scratch / "%d.jpg")]
    sound = [*_SOUND_OF_FFMPEG.split(), str(scratch / "sound.wav")]
    has_sound = b"audio" in subprocess.run(["ffmpeg", "-i", str(path)], capture_output=True, check=False).stderr.lower()
    return _run([*command, *pictures, *(sound if has_sound else [])])


def _child(name: str, path: Path, *more: str) -> Cost:
    return _run([sys.executable, "-m", "tests.benchmarks.decode", "--child", name, str(path), *more])


def _run(command: Sequence[str]) -> Cost:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        output.seek(0)
        printed = output.read()
    told = json.loads(printed or b"{}")
    start_seconds = told.pop("start_ms", 0) / 1000
    return Cost(usage.ru_utime + usage.ru_stime - start_seconds, start_seconds, usage.ru_maxrss / 1024, told)


def _best(measure: Callable[[], Cost]) -> float:
    return min(measure().cpu_seconds for _ in range(ROUNDS))


def _ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *arguments], check=True)


def _ours(path: Path, frames: str) -> None:
    """Decode with a sink that counts and forgets; as in the sandbox's child, what was imported is no garbage."""
    from features.media.decode import decode_media
    from features.media.options import DecodeOptions
    from features.media.sampling import parse_frames

    sampling, interval_us = parse_frames(frames)
    counts = _Counts()
    gc.freeze()
    options, start_ms = DecodeOptions(frame_interval_us=interval_us, sampling=sampling), _cpu_ms()
    info = decode_media(path, options, sink=counts).info
    print(json.dumps({**vars(counts), "duration_us": info.duration_us, "start_ms": start_ms}))


class _Counts:
    def __init__(self) -> None:
        self.frames = self.jpeg = self.flac = 0

    def add_frame(self, frame: Frame) -> None:
        self.frames += 1
        self.jpeg += len(frame.jpeg)

    def add_chunk(self, chunk: AudioChunk) -> None:
        self.flac += len(chunk.flac)


def _loop(path: Path) -> None:
    """What one finds in tutorials: every frame through OpenCV, every 25th or so kept; the sound through librosa."""
    import warnings

    import cv2
    import librosa

    cv2.setNumThreads(1)
    start_ms = _cpu_ms()
    capture = cv2.VideoCapture(str(path))
    step = max(1, round(capture.get(cv2.CAP_PROP_FPS)))
    index = 0
    while True:
        done, picture = capture.read()
        if not done:
            break
        if index % step == 0:
            scale = 360 / min(picture.shape[:2])
            cv2.imencode(".jpg", cv2.resize(picture, None, fx=scale, fy=scale))
        index += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        librosa.load(str(path), sr=16_000, mono=True)
    print(json.dumps({"start_ms": start_ms}))


def _cpu_ms() -> int:
    """CPU milliseconds of this process so far."""
    return round(1000 * time.process_time())


_CHILDREN: dict[str, Callable[..., None]] = {"ours": _ours, "loop": _loop}

if __name__ == "__main__":
    main()
