"""`consent.toml`: who has agreed to what, by source and by person, and which of its rules decides about a media.

    [default]                       # where no rule speaks
    refuse = ["biometric", "publish"]

    [[rules]]                       # a glob on the path or the file name
    source = "*/interviews/*"
    refuse = ["training"]
    note = "agreed to scoring only"

    [[rules]]                       # a pseudonym of media.subject_ids
    subject = "s-017"
    refuse = ["all"]

`all` stands for the purposes that a rule does not name itself. Each purpose is decided by itself. Of the rules by
source, the last that matches and speaks of it wins. A rule by subject is more specific than any by source; of a
person's rules, the last wins. Every person in a media is asked, as is every place where its bytes lie: one refusal
suffices. What `--refuse` or a manifest refuses stays refused.
"""

from __future__ import annotations

import fnmatch
import os
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError
from features.fusion.settings import Place, parse, setting
from features.identity import fingerprint
from features.privacy.consent import GRANTED, PURPOSES, consent_text, refused_purposes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

CONSENT_FILE = "consent.toml"
"""Name of the file, in the store's folder."""

CONSENT_VARIABLE = "TRIPTYCH_CONSENT"
"""Environment variable that names another."""

STATED = "as the source was listed"
"""Why a purpose is refused that `--refuse` or a manifest refuses."""

_ALL = "all"
_CHOICES = (*PURPOSES, _ALL)


@dataclass(frozen=True, slots=True)
class Default:
    """What applies where no rule speaks; a purpose that it does not name is not stated, and so allowed."""

    grant: tuple[str, ...] = setting((), choices=_CHOICES)
    refuse: tuple[str, ...] = setting((), choices=_CHOICES)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is granted and refused to media of a source, of a subject, or of a subject in a source."""

    source: str = setting("")
    subject: str = setting("")
    grant: tuple[str, ...] = setting((), choices=_CHOICES)
    refuse: tuple[str, ...] = setting((), choices=_CHOICES)
    note: str = setting("")

    def word(self, purpose: str) -> bool | None:
        """True: granted, False: refused, None: it does not speak of the purpose."""
        return _word(self, purpose)


@dataclass(frozen=True)
class ConsentPolicy:
    """A consent file, checked."""

    default: Default = setting(Default())
    rules: tuple[Rule, ...] = setting(())

    def decide(self, place: MediaPlace) -> Verdicts:
        """What applies to a media in one place."""
        rules = self._of_source(place.uri)
        verdicts = tuple(self._verdict(purpose, place, rules) for purpose in PURPOSES)
        people = {"", *place.subject_ids}
        return Verdicts(verdicts, frozenset(number for number, rule in rules if rule.subject in people))

    def decide_all(self, places: Iterable[MediaPlace]) -> Verdicts:
        """What applies to a media in all its places, of which there is at least one: one refusal suffices."""
        found = [self.decide(place) for place in places]
        by_purpose = zip(*(one.verdicts for one in found), strict=True)
        rules = frozenset[int]().union(*(one.rules for one in found))
        return Verdicts(tuple(min(verdicts, key=_reluctance) for verdicts in by_purpose), rules)

    @property
    def subjects(self) -> frozenset[str]:
        """People that rules name."""
        return frozenset(rule.subject for rule in self.rules if rule.subject)

    @property
    def fingerprint(self) -> str:
        """Hash of what it says."""
        return fingerprint([repr(self.default), *map(repr, self.rules)])

    def _verdict(self, purpose: str, place: MediaPlace, rules: Sequence[tuple[int, Rule]]) -> Verdict:
        if purpose in refused_purposes(place.stated):
            return Verdict(purpose, False, STATED)
        base = self._by_source(purpose, place.stated, rules)
        asked = (_by_subject(purpose, subject, rules, base) for subject in place.subject_ids)
        return min(asked, key=_reluctance, default=base)

    def _by_source(self, purpose: str, stated: str, rules: Sequence[tuple[int, Rule]]) -> Verdict:
        for number, rule in reversed(rules):
            word = None if rule.subject else rule.word(purpose)
            if word is not None:
                return Verdict(purpose, word, _named(number, rule))
        if stated == GRANTED:
            return Verdict(purpose, True, STATED)
        return Verdict(purpose, _word(self.default, purpose), "default")

    def _of_source(self, uri: str) -> list[tuple[int, Rule]]:
        name = os.path.basename(uri)  # noqa: PTH119 - a URI may be no path, and there may be a million
        return [
            (number, rule)
            for number, (rule, pattern) in enumerate(zip(self.rules, self._patterns, strict=True), start=1)
            if pattern is None or pattern.match(uri) or pattern.match(name)
        ]

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str] | None, ...]:
        return tuple(re.compile(fnmatch.translate(rule.source)) if rule.source else None for rule in self.rules)


class MediaPlace(NamedTuple):
    """A media where it lies: what a policy decides by.

    `stated` is the consent that `--refuse` or a manifest states, as a text of `media.consent`.
    """

    uri: str
    subject_ids: Collection[str] = ()
    stated: str = "unstated"


class Verdict(NamedTuple):
    """About one purpose: True for granted, False for refused, None for not stated; and what decided so."""

    purpose: str
    word: bool | None
    because: str


class Verdicts(NamedTuple):
    """About all purposes, in the order of `PURPOSES`; and numbers of the rules that the media falls under, from 1."""

    verdicts: tuple[Verdict, ...]
    rules: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        """For `media.consent`."""
        refused = [verdict.purpose for verdict in self.verdicts if verdict.word is False]
        return consent_text(refused, granted=all(verdict.word for verdict in self.verdicts))

    @property
    def because(self) -> tuple[str, ...]:
        """What decided, each once: for the refusals, or where there are none, for the rest."""
        refusals = [verdict.because for verdict in self.verdicts if verdict.word is False]
        return tuple(dict.fromkeys(refusals or [verdict.because for verdict in self.verdicts]))


def find_policy(store: Path, named: str = "") -> tuple[ConsentPolicy, Path] | None:
    """The consent file that applies: the one that is named, that of `TRIPTYCH_CONSENT`, or the store's own.

    Args:
        store: Folder of the store; it may not be there yet.
        named: What `--consent` says.

    Returns:
        The policy and where it stands; None where there is none.

    Raises:
        ConfigError: A file that is named is not there, or one cannot be read, or is wrong.
    """
    stated = named or os.environ.get(CONSENT_VARIABLE, "")
    path = Path(stated).expanduser() if stated else store / CONSENT_FILE
    if not stated and not path.exists():
        return None
    return read_policy(path), path


def policy_of(store: Path, named: str = "") -> ConsentPolicy | None:
    """The policy that applies, as `find_policy` finds it; None where there is no consent file."""
    found = find_policy(store, named)
    return None if found is None else found[0]


def read_policy(path: Path) -> ConsentPolicy:
    """Read a consent file.

    Raises:
        ConfigError: It cannot be read, a key or purpose is unknown, or rules contradict each other.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        message = (
            f"cannot read the consent file {str(path)!r} ({reason}); nothing was done: mend it, or name another with "
            f"--consent or {CONSENT_VARIABLE}"
        )
        raise ConfigError(message) from error
    place = Place(str(path))
    policy = parse(ConsentPolicy, data, place)
    _check(policy, place)
    return policy


def _word(says: Default | Rule, purpose: str) -> bool | None:
    """What is said of a purpose: by its own name, or else by `all`."""
    for name in (purpose, _ALL):
        if name in says.refuse:
            return False
        if name in says.grant:
            return True
    return None


def _by_subject(purpose: str, subject: str, rules: Sequence[tuple[int, Rule]], base: Verdict) -> Verdict:
    for number, rule in reversed(rules):
        word = rule.word(purpose) if rule.subject == subject else None
        if word is not None:
            return Verdict(purpose, word, _named(number, rule))
    return base


def _reluctance(verdict: Verdict) -> int:
    """The least wins: a refusal, then what is not stated, then what is granted."""
    return {False: 0, None: 1, True: 2}[verdict.word]


def _named(number: int, rule: Rule) -> str:
    about = [f"{key} {value!r}" for key, value in (("subject", rule.subject), ("source", rule.source)) if value]
    return f"rule {number} ({', '.join(about)})"


def _check(policy: ConsentPolicy, place: Place) -> None:
    _check_words(policy.default, place.inside("default"))
    seen: dict[tuple[str, str, str], tuple[int, bool]] = {}
    for number, rule in enumerate(policy.rules, start=1):
        here = place.inside(f"rules[{number - 1}]")
        if not rule.source and not rule.subject:
            here.refuse("names neither a source nor a subject; name one, or write it under [default]")
        if not rule.grant and not rule.refuse:
            here.refuse(f"neither grants nor refuses; add grant or refuse, such as refuse = [{PURPOSES[1]!r}]")
        _check_words(rule, here)
        for purpose, word in _words(rule):
            before, said = seen.setdefault((rule.source, rule.subject, purpose), (number, word))
            if said != word:
                here.refuse(
                    f"contradicts rules[{before - 1}]: both are about {_named(number, rule).partition(' (')[2][:-1]}, "
                    f"one grants {purpose!r}, the other refuses it; keep one of them"
                )


def _words(rule: Rule) -> Iterator[tuple[str, bool]]:
    words = ((purpose, rule.word(purpose)) for purpose in PURPOSES)
    return ((purpose, word) for purpose, word in words if word is not None)


def _check_words(says: Default | Rule, place: Place) -> None:
    both = sorted(set(says.grant).intersection(says.refuse))
    if both:
        place.refuse(f"both grants and refuses {both[0]!r}; keep one of them")
