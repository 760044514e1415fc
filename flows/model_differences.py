"""What two models differ in - recipe, features, tables - and whether their figures are of the same test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.fusion.facts import ModelFacts


class Changed(NamedTuple):
    """One thing that two models have otherwise, such as `encoders.text.size`, and what each has; `-` for none."""

    what: str
    one: str
    other: str


def differences(one: ModelFacts, other: ModelFacts) -> list[Changed]:
    """All that differs, by name: keys of the recipe, fingerprints of features, versions of tables, the code."""
    have = dict(_stated(one)), dict(_stated(other))
    names = dict.fromkeys([*have[0], *have[1]])
    pairs = (Changed(name, *(side.get(name, "-") for side in have)) for name in names)
    return [pair for pair in pairs if pair.one != pair.other]


def why_not_comparable(one: ModelFacts, other: ModelFacts) -> list[str]:
    """Why the figures of two models are not of the same test rows, or of two protocols; none where nothing says so."""
    reasons = []
    sides = one.recipe, other.recipe
    labels = [
        {name: facts.table_versions.get(f"labels/{name}") for name in facts.recipe.label_sets} for facts in (one, other)
    ]
    if labels[0] != labels[1]:
        told = (", ".join(f"labels/{name}:{version}" for name, version in side.items()) for side in labels)
        reasons.append(f"they learned from other labels ({' and '.join(told)})")
    if asdict(sides[0].splits) != asdict(sides[1].splits):
        reasons.append(f"their splits differ ({sides[0].splits.name} and {sides[1].splits.name})")
    if sides[0].segmentation != sides[1].segmentation:
        reasons.append(f"their segments differ ({sides[0].segmentation} and {sides[1].segmentation})")
    if one.comparison.num_rows[2] != other.comparison.num_rows[2]:
        reasons.append(f"{one.comparison.num_rows[2]:,} and {other.comparison.num_rows[2]:,} test segments")
    protocols = [_protocol(facts) for facts in (one, other)]
    if protocols[0] != protocols[1]:
        reasons.append(f"two protocols ({' and '.join(protocols)})")
    return reasons


def _protocol(facts: ModelFacts) -> str:
    per = facts.comparison.transductive
    return f"transductive per {per}" if per else "inductive"


def _stated(facts: ModelFacts) -> Iterator[tuple[str, str]]:
    yield from _flat(asdict(facts.recipe), "")
    for spec in facts.specs:
        yield f"fingerprint of {spec.key}", spec.fingerprint
    for name, version in sorted(facts.table_versions.items()):
        yield f"version of {name}", str(version)
    yield "code", facts.code_version


def _flat(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Leaves by dotted name; records of a list are named by their `name`."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and value and all(isinstance(part, Mapping) for part in value):
        for part in value:
            yield from _flat({key: item for key, item in part.items() if key != "name"}, f"{path}[{part['name']}]")
    elif isinstance(value, list | tuple):
        yield path, ", ".join(map(str, value)) or "-"
    else:
        yield path, str(value)
