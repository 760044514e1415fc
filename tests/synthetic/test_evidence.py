from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import soundfile

from features.errors import ConfigError
from features.synthetic.evidence import make_samples


def test_a_sample_is_what_decoding_would_have_given() -> None:
    media = make_samples(2)[0].media
    assert media.has_video
    assert media.has_audio
    assert media.has_text
    picture = cv2.imdecode(np.frombuffer(media.frames[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (media.frames[0].height, media.frames[0].width, 3)
    sound, rate = soundfile.read(io.BytesIO(media.audio[0].flac))
    assert rate == media.audio[0].sample_rate_hz == 16_000
    assert len(sound) * 1_000_000 == (media.audio[0].end_us - media.audio[0].start_us) * rate
    assert media.utterances[0].text.endswith(".")


def test_frames_share_the_timeline_without_gaps() -> None:
    media = make_samples(1)[0].media
    ends = [frame.valid_end_us for frame in media.frames]
    assert [frame.valid_start_us for frame in media.frames] == [0, *ends[:-1]]
    assert ends[-1] == media.duration_us


def test_same_seed_same_samples_and_other_seed_others() -> None:
    assert make_samples(3, seed=1) == make_samples(3, seed=1)
    ids = [sample.media.media_id for sample in [*make_samples(3, seed=1), *make_samples(3, seed=2)]]
    assert len(set(ids)) == 6


def test_noise_changes_only_what_it_names() -> None:
    plain, control = make_samples(8), make_samples(8, noise=("video", "audio"))
    assert [sample.label for sample in plain] == [sample.label for sample in control]
    assert [sample.latents["text"] for sample in plain] == [sample.latents["text"] for sample in control]
    assert [sample.latents["video"] for sample in plain] != [sample.latents["video"] for sample in control]


def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 samples"):
        make_samples(0)
    with pytest.raises(ConfigError, match="'touch'"):
        make_samples(1, noise=("touch",))
