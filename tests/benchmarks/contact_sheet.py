"""A contact sheet for a look with eyes: pictures of media as ingest keeps them, with name, size, turn and times.

`python -m tests.benchmarks.contact_sheet OUT [FOLDER]` draws all media of a folder (the shared media by default) into
`OUT/sheet-00.png`, ...: are they upright, of the right colours, of the right shape?
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from features.errors import TriptychError
from features.media.decode import decode_media
from features.media.options import DecodeOptions
from features.media.pictures import decode_jpeg
from features.media.sound import join_sound
from tests.whole.fuzz import MEDIA, NOT_MEDIA

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from features.records import DecodedMedia

    Image = npt.NDArray[np.uint8]

_PICTURES = 4
_WIDTH, _HEIGHT = 250, 170
"""Pixels of a cell; a picture keeps its shape in it."""
_LINE = 18
_FILES_A_SHEET = 7
_WHITE, _GREY, _RED = (255, 255, 255), (90, 90, 90), (80, 80, 255)


def sheet_of(paths: Sequence[Path]) -> Image:
    """One sheet: a row a file. BGR, uint8, shape [height, width, 3]."""
    return np.concatenate([_row(path) for path in paths])


def _row(path: Path) -> Image:
    row = np.zeros((_HEIGHT + 2 * _LINE, _PICTURES * _WIDTH, 3), np.uint8)
    row[-1] = _GREY
    try:
        decoded = decode_media(path, DecodeOptions(frame_interval_us=200_000, frame_short_side=_WIDTH))
    except TriptychError as error:
        _write(row, path.name, 0, 0)
        words = str(error).split("; ")
        for line, text in enumerate(words, 1):
            _write(row, f"{type(error).__name__} {text}" if line == 1 else text, 0, line, _RED)
        return row
    _write(row, f"{path.name}   {_facts(decoded)}", 0, 0)
    chosen = np.linspace(0, len(decoded.frames) - 1, min(_PICTURES, len(decoded.frames))).round().astype(int)
    for column, index in enumerate(chosen):
        frame = decoded.frames[index]
        picture = _fitted(decode_jpeg(frame.jpeg)[..., ::-1])
        left = column * _WIDTH
        row[_LINE : _LINE + picture.shape[0], left : left + picture.shape[1]] = picture
        _write(row[_HEIGHT + _LINE :], f"{frame.t_us / 1e6:.3f} s", left, 0, _GREY)
    if not decoded.frames:
        _draw_sound(row, decoded)
    return row


def _facts(decoded: DecodedMedia) -> str:
    info = decoded.info
    shown = f"{info.width}x{info.height} turned {info.rotation}" if info.has_video else "no pictures"
    sound = f"{info.sample_rate_hz} Hz" if info.has_audio else "no sound"
    said = f"; {decoded.utterances[0].text[:30]!r}" if decoded.utterances else ""
    return f"{shown}, {info.duration_us / 1e6:.2f} s, {sound}{said}"


def _fitted(picture: Image) -> Image:
    scale = min((_WIDTH - 4) / picture.shape[1], _HEIGHT / picture.shape[0])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _draw_sound(row: Image, decoded: DecodedMedia) -> None:
    """The largest sample of each stretch, as a wave."""
    _, samples = join_sound(decoded.audio)
    peaks = [float(np.abs(part).max(initial=0)) for part in np.array_split(samples, row.shape[1])]
    middle = _LINE + _HEIGHT // 2
    for column, peak in enumerate(peaks):
        half = round(peak * _HEIGHT / 2)
        row[middle - half : middle + half + 1, column] = _WHITE


def _write(image: Image, text: str, left: int, line: int, colour: tuple[int, int, int] = _WHITE) -> None:
    plain, place = text.encode("ascii", "replace").decode(), (left + 2, _LINE * (line + 1) - 5)
    cv2.putText(image, plain, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)


def main() -> None:
    """Draw the sheets, print where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=MEDIA)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for path in given.folder.iterdir() if path.is_file() and path.suffix not in NOT_MEDIA)
    for number, begin in enumerate(range(0, len(paths), _FILES_A_SHEET)):
        place = given.out / f"sheet-{number:02}.png"
        cv2.imwrite(str(place), sheet_of(paths[begin : begin + _FILES_A_SHEET]))
        print(place)


if __name__ == "__main__":
    main()
