"""`consent.toml`: which rule decides, and what is wrong with a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from features.errors import ConfigError
from features.privacy.consent import PURPOSES, refused_purposes
from features.privacy.consent_policy import CONSENT_VARIABLE, ConsentPolicy, MediaPlace, find_policy, read_policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Read = Callable[[str], ConsentPolicy]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def of(text: str) -> ConsentPolicy:
        path = tmp_path / "consent.toml"
        path.write_text(text)
        return read_policy(path)

    return of


def text_of(policy: ConsentPolicy, uri: str = "/v/a.mp4", *subjects: str, stated: str = "unstated") -> str:
    return policy.decide(MediaPlace(uri, subjects, stated)).text


RULES = """
[default]
refuse = ["biometric"]

[[rules]]
source = "*/studio/*"
grant = ["all"]

[[rules]]
source = "interview_*"
refuse = ["training", "publish"]

[[rules]]
source = "*/studio/signed/*"
grant = ["training"]

[[rules]]
subject = "s-1"
refuse = ["all"]

[[rules]]
subject = "s-2"
grant = ["publish", "biometric"]

[[rules]]
subject = "s-1"
source = "*/again/*"
grant = ["features"]
"""


@pytest.mark.parametrize(
    ("uri", "subjects", "text"),
    [
        ("/v/a.mp4", (), "refused:biometric"),  # the default
        ("/v/studio/a.mp4", (), "granted"),  # a rule lifts the default
        ("/v/studio/interview_1.mp4", (), "refused:training,publish"),  # a later rule, by the file's name
        ("/v/interview_1.mp4", (), "refused:training,biometric,publish"),
        ("/v/studio/signed/interview_1.mp4", (), "refused:publish"),  # the last that speaks of each purpose
        ("/v/a.mp4", ("s-2",), "unstated"),  # a person lifts the default; the other purposes are not stated
        ("/v/studio/interview_1.mp4", ("s-2",), "refused:training"),  # a person is more specific than a source
        ("/v/studio/interview_1.mp4", ("s-2", "s-3"), "refused:training,publish"),  # s-3 has not granted it
        ("/v/studio/a.mp4", ("s-1",), "refused"),
        ("/v/studio/a.mp4", ("s-2", "s-1"), "refused"),  # one refusal suffices, whatever the order
        ("/v/again/a.mp4", ("s-1",), "refused:training,biometric,publish"),
    ],
)
def test_the_most_specific_and_then_the_last_rule_decides(
    read: Read, uri: str, subjects: tuple[str, ...], text: str
) -> None:
    assert text_of(read(RULES), uri, *subjects) == text
    assert text_of(read(RULES), uri, *reversed(subjects)) == text


def test_what_a_source_states_cannot_be_lifted(read: Read) -> None:
    policy = read('[default]\ngrant = ["all"]\n[[rules]]\nsubject = "s"\ngrant = ["all"]')
    assert text_of(policy, "/v/a.mp4", "s", stated="refused") == "refused"
    assert text_of(policy, "/v/a.mp4", "s", stated="refused:training") == "refused:training"


def test_what_a_source_grants_stands_before_the_default_and_after_rules(read: Read) -> None:
    policy = read('[default]\nrefuse = ["training"]\n[[rules]]\nsource = "b*"\nrefuse = ["publish"]')
    assert text_of(policy, "/v/a.mp4", stated="granted") == "granted"
    assert text_of(policy, "/v/b.mp4", stated="granted") == "refused:publish"
    assert text_of(policy, "/v/a.mp4") == "refused:training"


def test_an_empty_file_changes_nothing(read: Read) -> None:
    assert [text_of(read(""), stated=text) for text in ("unstated", "granted", "refused:publish")] == [
        "unstated",
        "granted",
        "refused:publish",
    ]


def test_all_names_what_is_not_named(read: Read) -> None:
    policy = read('[[rules]]\nsource = "*"\nrefuse = ["all"]\ngrant = ["features"]')
    assert refused_purposes(text_of(policy)) == set(PURPOSES) - {"features"}


def test_every_place_is_asked(read: Read) -> None:
    policy = read(RULES)
    here, there = MediaPlace("/v/studio/a.mp4"), MediaPlace("/v/studio/interview_1.mp4")
    for places in ((here, there), (there, here)):
        verdicts = policy.decide_all(places)
        assert verdicts.text == "refused:training,publish"
        assert verdicts.because == ("rule 2 (source 'interview_*')",)
    assert policy.decide_all([here]).text == "granted"


def test_it_says_what_decided_and_what_matches(read: Read) -> None:
    policy = read(RULES)
    place = MediaPlace("/v/studio/a.mp4", ("s-1", "s-2"))
    assert policy.decide(place).because == ("rule 4 (subject 's-1')",)
    assert policy.decide(place).rules == {1, 4, 5}
    assert policy.subjects == {"s-1", "s-2"}
    assert policy.decide(MediaPlace("/v/a.mp4")).because == ("default",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default", "cannot read the consent file .*consent.toml.*--consent or TRIPTYCH_CONSENT"),
        ('[defaults]\nrefuse = ["all"]', r"unknown key 'defaults' in the top level; did you mean 'default'\?"),
        ("[[rules]]\nsuject = 's'", r"unknown key 'suject' in section \[rules\[0\]\]; did you mean 'subject'\?"),
        ('[default]\nrefuse = ["trainig"]', r"default.refuse\[0\] is 'trainig'; did you mean 'training'\?"),
        ('[default]\nrefuse = "training"', "default.refuse is 'training'; it must be a list"),
        ('[[rules]]\nsource = 3\nrefuse = ["all"]', r"rules\[0\].source is 3; it must be a text"),
        ('[[rules]]\nrefuse = ["all"]', r"rules\[0\] names neither a source nor a subject; .*\[default\]"),
        ('[[rules]]\nsource = "*"', r"rules\[0\] neither grants nor refuses; add grant or refuse"),
        (
            '[[rules]]\nsource = "*"\nrefuse = ["all", "training"]\ngrant = ["training"]',
            r"rules\[0\] both grants and refuses 'training'; keep one",
        ),
        (
            '[[rules]]\nsubject = "s"\nrefuse = ["all"]\n[[rules]]\nsubject = "s"\ngrant = ["publish"]',
            r"rules\[1\] contradicts rules\[0\]: both are about subject 's', one grants 'publish'",
        ),
        ("rules = 3", "rules is 3; it must be a list"),
    ],
)
def test_a_wrong_file_is_refused(read: Read, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "consent.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read the consent file"):
        find_policy(tmp_path)


def test_the_file_is_the_named_one_or_the_variable_s_or_the_store_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CONSENT_VARIABLE, raising=False)
    store, other, third = tmp_path / "store", tmp_path / "other.toml", tmp_path / "third.toml"
    store.mkdir()
    assert find_policy(store) is None
    for path in (store / "consent.toml", other, third):
        path.write_text("")
    found = []
    for variable, named in (("", ""), (str(other), ""), (str(other), str(third))):
        monkeypatch.setenv(CONSENT_VARIABLE, variable)
        policy = find_policy(store, named)
        found.append(policy and policy[1])
    assert found == [store / "consent.toml", other, third]


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml.*No such file"):
        find_policy(tmp_path, str(tmp_path / "gone.toml"))
