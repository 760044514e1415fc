"""Times and pictures of every kind of file agree with the commands ffprobe and ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from features.media.decode import decode_media
from features.media.options import DecodeOptions
from features.media.pictures import decode_jpeg
from features.records import DecodedMedia
from tests.media.generate import SECOND

MEDIA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "media"
ALL = DecodeOptions(frame_interval_us=1, frame_short_side=240, jpeg_quality=98)
pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="no ffmpeg on PATH"
)

# Two default videos, of which ffprobe lists both; a start that ffprobe of other versions gives another way; damage, in
# which ffprobe lists the frames that a decoder makes up.
_NOT_COMPARED = {"nasa_13013.mp4", "video.webm", "corrupted.mp4"}
_NOT_MEDIA = {".csv", ".json", ".md"}
# What ffmpeg has to be told to come to the same: a matrix for HD that states none, to deinterlace; or that its
# picture is no measure: it tone-maps nothing, and begins to count anew where the size changes.
_FILTERS = {
    "interlaced_crop.mp4": "bwdif=mode=send_frame,scale=in_color_matrix=bt709",
    "rotated_hdr_video.mov": None,
    "vp90-2-05-resize.mp4": None,
}
_LEAST_PSNR = 30  # edges of saturated colours differ between versions; a wrong matrix gives about 25
GENERATED = {
    "b-frames.mp4": "-c:v libx264 -bf 3 -g 30",
    "open-gop.mkv": "-c:v libx264 -bf 3 -g 20 -x264-params open-gop=1",
    "late.ts": "-c:v libx264 -bf 2 -output_ts_offset 1234",
    "hevc.mp4": "-c:v libx265 -x265-params log-level=error -pix_fmt yuv420p10le",
    "mpeg2.mpg": "-c:v mpeg2video -bf 2 -q:v 2",
    "wmv.asf": "-c:v wmv2 -q:v 2",
    "theora.ogv": "-c:v libtheora -q:v 9",
    "444.mkv": "-c:v libx264 -pix_fmt yuv444p",
    "rgb.avi": "-c:v rawvideo -pix_fmt bgr24",
    "palette.gif": "",
    "odd.webm": "-vf crop=161:121 -c:v libvpx-vp9 -b:v 2M",
    "709.mp4": "-vf scale=out_color_matrix=bt709 -colorspace bt709 -c:v libx264",
    "full.mp4": "-vf scale=out_range=full -color_range pc -c:v libx264",
    "wide-pixels.mp4": "-vf setsar=4/3 -c:v libx264",
    "prores.mov": "-c:v prores_ks",
    "dv.avi": "-vf scale=720:576,setsar=16/15 -r 25 -pix_fmt yuv420p -c:v dvvideo",
    "mjpeg.mov": "-c:v mjpeg -q:v 2",
    "vp8.webm": "-c:v libvpx -b:v 2M",
    "av1.mkv": "-c:v libsvtav1 -preset 12 -crf 20",
    "fragments.mp4": "-c:v libx264 -movflags frag_keyframe+empty_moov",
    "slow.mp4": "-vf fps=2 -c:v libx264 -bf 3",
}


def _output_of(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


def _times_us(path: Path) -> list[int]:
    """Presentation times by ffprobe, from the start of the container."""
    probe = ("ffprobe", "-v", "error", "-of", "csv=p=0")
    shown = ("-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time")
    frames = _output_of(*probe, *shown, str(path)).decode().split()
    start = _output_of(*probe, "-show_entries", "format=start_time", str(path)).decode().strip()
    zero = 0.0 if start in {"", "N/A"} else float(start)
    times = [line.split(",")[0] for line in frames]
    return [round((float(time) - zero) * SECOND) for time in times if time not in {"", "N/A"}]


def _psnr_of_picture(path: Path, decoded: DecodedMedia, index: int, chain: str) -> float:
    """Likeness to ffmpeg's picture of the same number, both made small: versions draw edges in different ways."""
    frame = decoded.frames[index]
    *before, last = chain.rpartition("scale=")[::2] if "scale=" in chain else ("", "in_color_matrix=auto")
    size = f"scale={frame.width}:{frame.height}:flags=bilinear:{last}"
    scale = f"{''.join(before)}select=eq(n\\,{index}),{size}"
    raw = _output_of(
        "ffmpeg", "-v", "error", "-i", str(path), "-map", "v:0", "-vf", scale, "-fps_mode", "passthrough",
        "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-",
    )  # fmt: skip
    theirs = np.frombuffer(raw, np.uint8).reshape(frame.height, frame.width, 3)
    small = (max(1, frame.width // 8), max(1, frame.height // 8))
    error = cv2.resize(decode_jpeg(frame.jpeg), small, interpolation=cv2.INTER_AREA).astype(float)
    error -= cv2.resize(theirs, small, interpolation=cv2.INTER_AREA)
    return float(10 * np.log10(255**2 / max(np.mean(error**2), 1e-9)))


def _check(path: Path, chain: str | None = "") -> None:
    decoded = decode_media(path, ALL)
    ours, theirs = [frame.t_us for frame in decoded.frames], _times_us(path)
    assert ours == pytest.approx(theirs, abs=1)
    if chain is not None:
        assert _psnr_of_picture(path, decoded, len(ours) // 2, chain) > _LEAST_PSNR


@pytest.mark.data
@pytest.mark.skipif(not MEDIA.is_dir(), reason=f"no {MEDIA}")
@pytest.mark.parametrize(
    "name",
    sorted(path.name for path in MEDIA.glob("*") if path.suffix not in _NOT_MEDIA and path.name not in _NOT_COMPARED),
)
def test_real_files(name: str) -> None:
    path = MEDIA / name
    probed = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "V", "-show_entries", "stream=index", "-of", "csv=p=0", path],
        capture_output=True, check=False,
    )  # fmt: skip
    if probed.returncode or not probed.stdout.strip():
        pytest.skip("no video by ffprobe")
    _check(path, _FILTERS.get(name, ""))


@pytest.mark.parametrize("name", GENERATED)
def test_generated_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    source = "testsrc2=size=320x240:rate=25:duration=2,gblur=sigma=6"
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *GENERATED[name].split(), path],
        capture_output=True, check=False,
    )  # fmt: skip
    if b"Unknown encoder" in made.stderr:
        pytest.skip("this ffmpeg has no such encoder")
    assert made.returncode == 0, made.stderr
    _check(path)


@pytest.mark.data
@pytest.mark.skipif(not MEDIA.is_dir(), reason=f"no {MEDIA}")
def test_pictures_after_damage_are_left_out_and_told() -> None:
    decoded = decode_media(MEDIA / "corrupted.mp4", ALL)
    ours, theirs = [frame.t_us for frame in decoded.frames], _times_us(MEDIA / "corrupted.mp4")
    assert ours == pytest.approx(theirs[: len(ours)], abs=1)
    (lost,) = decoded.missed
    assert f"{len(theirs) - len(ours)} frames were not used" in lost.message
