# ruff: noqa: RUF001 - other alphabets are what is tested
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import TranscriptionError
from features.transcripts import encoding
from features.transcripts.encoding import decode_text, read_text

if TYPE_CHECKING:
    from pathlib import Path

SAID = {
    "fr": "Ça va être là, voilà l'été déjà.\nOù êtes-vous allé ?\nJe ne sais pas très bien.",
    "de": "Schöne Grüße aus Köln.\nIch weiß es nicht.\nDas Mädchen läuft über die Straße.",
    "es": "¿Dónde está el niño?\nMañana será otro día.\n¡Qué bonito!",
    "ru": "Привет, как дела?\nЯ не знаю, что сказать.\nПойдём домой.",
    "ja": "こんにちは、元気ですか。\n私は学生です。\n明日また会いましょう。",
    "zh": "你好,你今天怎么样?\n我不知道该说什么。\n我们明天再见吧。",
    "ko": "안녕하세요, 어떻게 지내세요?\n저는 학생입니다.\n내일 또 만나요.",
    "el": "Καλημέρα, τι κάνεις;\nΔεν ξέρω τι να πω.\nΠάμε σπίτι.",
    "pl": "Cześć, jak się masz?\nNie wiem, co powiedzieć.\nChodźmy już do domu, żółty źrebak.",
    "cs": "Příliš žluťoučký kůň úpěl ďábelské ódy.\nNevím, co říct.",
    "en": "She said \u201chello\u201d \u2014 and left\u2026",
}


def _srt(said: str) -> str:
    lines = said.split("\n")
    return "\n".join(f"{i}\n00:00:{i:02d},000 --> 00:00:{i + 1:02d},000\n{line}\n" for i, line in enumerate(lines, 1))


@pytest.mark.parametrize(
    ("language", "name"),
    [
        *((language, name) for language in SAID for name in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")),
        ("ru", "utf-32"),
        *((language, "cp1252") for language in ("fr", "de", "es", "en")),
        *((language, "latin-1") for language in ("fr", "de", "es")),
        *(("ru", "cp1251"), ("ru", "koi8-r"), ("ja", "shift_jis"), ("zh", "gb18030"), ("ko", "euc_kr")),
        *(("el", "cp1253"), ("pl", "cp1250"), ("cs", "cp1250")),
    ],
)
def test_encodings_are_told_apart(language: str, name: str) -> None:
    content = _srt(SAID[language])
    assert decode_text(content.encode(name)) == content


@pytest.mark.parametrize(
    ("language", "name", "said"),
    [
        ("ru", "cp1251", "Привет"),
        ("he", "cp1255", "שלום, מה שלומך?"),
        ("zh-TW", "big5", "你好"),
        ("hu", "cp1250", "őrült"),
    ],
)
def test_the_language_settles_short_texts(language: str, name: str, said: str) -> None:
    assert decode_text(said.encode(name), language=language) == said


def test_a_broken_letter_leaves_the_others() -> None:
    content = SAID["ru"].encode() + "й".encode()[:1]
    assert decode_text(content).startswith(SAID["ru"])


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"abc\0def"])
def test_what_is_no_text_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(TranscriptionError, match=r"a\.txt' is no text"):
        read_text(tmp_path / "a.txt")


def test_a_text_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_TEXT_BYTES", 10)
    (tmp_path / "a.txt").write_text("a" * 11)
    with pytest.raises(TranscriptionError, match="too large"):
        read_text(tmp_path / "a.txt")


@given(st.binary(max_size=300), st.sampled_from([None, "ru", "ja", "zh-TW", "xx"]))
def test_any_bytes_are_some_text(content: bytes, language: str | None) -> None:
    assert isinstance(decode_text(content, language=language), str)
