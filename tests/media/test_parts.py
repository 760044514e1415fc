"""A long media in parts: what they give together is what an undivided decode gives."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.media.decode import decode_media
from features.media.decode_part import can_be_split, decode_part
from features.media.options import DecodeOptions
from features.media.parts import GRID_US, Part, joined_info, joined_losses, joined_shots, parts_of
from features.media.probe import open_media
from features.media.quality import PictureMeter, media_quality
from features.media.sink import Collected
from features.records import DecodedMedia
from tests.media.generate import SECOND, Cue, Shown, Sound, tone, write_media

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPAN_US = 60 * SECOND
OPTIONS = DecodeOptions(frame_short_side=48)


def joined(path: Path, options: DecodeOptions, parts: Sequence[Part]) -> DecodedMedia:
    """What the parts give, put together."""
    sink, made = Collected(), []
    for part in parts:
        made.append(decode_part(path, options, part, sink=sink, on_progress=lambda: None))
    (rest, rest_facts), pictures = made[0], [(decoded.info, facts) for decoded, facts in made[1:]]
    meter = PictureMeter()
    for frame in sink.frames:
        assert frame.quality is not None
        meter.count(frame.quality)
    info = joined_info(rest.info, pictures, media_quality(meter, None))
    losses = joined_losses(rest_facts, pictures)
    assert losses.errors == ()
    assert losses.end_us == info.duration_us
    shots = joined_shots([facts for _, facts in pictures], pictures[-1][1].end_us) if options.shots else None
    motions = tuple(one for decoded, _ in made for one in decoded.motions or ()) if options.motion else None
    return replace(rest, info=info, frames=tuple(sink.frames), audio=tuple(sink.chunks), shots=shots, motions=motions)


def check_same(path: Path, options: DecodeOptions, parts: Sequence[Part]) -> None:
    whole, together = decode_media(path, options), joined(path, options, parts)
    for item in fields(DecodedMedia):
        assert getattr(together, item.name) == getattr(whole, item.name), item.name


def uneven(seconds: int) -> list[Shown]:
    """Pictures at an uneven rate, some on screen for seconds."""
    rng = np.random.default_rng(5)
    steps = rng.choice([40_000, 90_000, 330_000, 2_700_000], size=seconds * 10, p=[0.3, 0.3, 0.39, 0.01])
    greys = rng.integers(30, 230, len(steps))
    shown = (Shown(int(t), int(grey)) for t, grey in zip(np.cumsum(steps), greys, strict=True))
    return [one for one in shown if one.t_us < seconds * SECOND]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Over three minutes in several containers: B-frames, an open GOP, a rate that varies, sound that starts late."""
    folder = tmp_path_factory.mktemp("films")
    pictures, sound = uneven(200), [Sound(700_000, tone(190, level=0.3))]
    cues = [Cue(5 * SECOND, 8 * SECOND, "early"), Cue(119 * SECOND, 121 * SECOND, "over a border")]
    write_media(folder / "film.mp4", pictures=pictures, sounds=sound, cues=cues)
    write_media(folder / "film.mkv", pictures=pictures, sounds=sound, cues=cues, text_codec="subrip")
    write_media(folder / "film.webm", pictures=pictures, video_codec="libvpx")
    return {path.suffix: path for path in folder.iterdir()}


@pytest.mark.parametrize("kind", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("sampling", ["interval", "keyframes", "all"])
def test_parts_give_what_the_whole_gives(films: dict[str, Path], kind: str, sampling: str) -> None:
    options = replace(OPTIONS, sampling=sampling)
    with open_media(films[kind]) as container:
        assert can_be_split(container, options)
    check_same(films[kind], options, parts_of(200 * SECOND, SPAN_US))


def test_pictures_far_apart(films: dict[str, Path]) -> None:
    check_same(films[".mp4"], replace(OPTIONS, frame_interval_us=45 * SECOND), parts_of(200 * SECOND, SPAN_US))


def test_a_wrong_length_in_the_header_loses_nothing(films: dict[str, Path]) -> None:
    """Spans beyond the end give nothing; the last one takes what is left."""
    for stated_us in (70 * SECOND, 900 * SECOND):
        check_same(films[".mp4"], OPTIONS, parts_of(stated_us, SPAN_US))


def test_shots_of_spans(films: dict[str, Path]) -> None:
    check_same(films[".mp4"], replace(OPTIONS, shots=True), parts_of(200 * SECOND, SPAN_US))


def test_what_cannot_be_split(films: dict[str, Path], tmp_path: Path) -> None:
    stream = write_media(tmp_path / "film.ts", pictures=uneven(2))
    sound = write_media(tmp_path / "sound.mp4", sounds=[Sound(0, tone(2))])
    for path, options in ((stream, OPTIONS), (sound, OPTIONS), (films[".mp4"], replace(OPTIONS, sampling="shots"))):
        with open_media(path) as container:
            assert not can_be_split(container, options)


@pytest.mark.parametrize(("duration_us", "span_us"), [(1, 1), (10 * GRID_US, GRID_US), (10 * GRID_US + 1, 3 * GRID_US)])
def test_spans_lie_on_the_grid_and_leave_no_gap(duration_us: int, span_us: int) -> None:
    rest, *spans = parts_of(duration_us, span_us)
    assert rest == Part(0)
    assert [span.number for span in spans] == list(range(1, len(spans) + 1))
    assert spans[0].start_us == 0
    assert spans[-1].end_us is None
    assert [span.end_us for span in spans[:-1]] == [span.start_us for span in spans[1:]]
    assert all(span.start_us % GRID_US == 0 for span in spans)
