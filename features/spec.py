"""FeatureSpec: what a feature table holds and what made it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal

from features.errors import SchemaError
from features.identity import fingerprint

Modality = Literal["video", "audio", "text", "face", "voice"]
Inputs = Literal["frames", "audio", "transcripts"]
Output = Literal["features", "transcripts"]

SPEC_KEY = "triptych.spec"
"""Key of the spec in a Delta table's configuration; Parquet metadata is lost by compaction."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """An extractor's output. What changes values is a new version.

    Attributes:
        name: Name of the extractor, `[a-z0-9_]+`.
        version: Counts up with every change of values.
        modality: Modality that the output speaks for.
        inputs: Base table that it reads: `frames`, `audio` or `transcripts`.
        output: `features` (vectors) or `transcripts` (utterances, for a speech recogniser).
        shape: Shape of one vector; empty for transcripts.
        dtype: Canonical precision of the stored values.
        rate: Rows an extractor writes, in words: `one a frame`, `one a second`, `one an utterance`.
        units: Unit of the values, in words.
        source: Publication or package of the method and weights.
        licence: SPDX identifier of the weights.
        weights_fingerprint: Hash of the weights, or empty where there are none.
        parameters: Parameters that change values, as name and text.
        made_by: What `get_extractor` makes it by, where that is more than the name: `hub_image:google/vit-base`. The
            same weights may lie elsewhere, so it is no part of the fingerprint.
    """

    name: str
    version: int
    modality: Modality
    inputs: Inputs
    output: Output = "features"
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    rate: str = ""
    units: str = ""
    source: str = ""
    licence: str = ""
    weights_fingerprint: str = ""
    parameters: tuple[tuple[str, str], ...] = field(default=())
    made_by: str = ""

    @property
    def key(self) -> str:
        """`<name>@<version>`."""
        return f"{self.name}@{self.version}"

    @property
    def table(self) -> str:
        """Table of the output: `features/<key>` or `transcripts/<key>`."""
        return f"{self.output}/{self.key}"

    @property
    def coverage_table(self) -> str:
        """Table that tells, a row a media, what the extractor found."""
        return f"coverage/{self.key}"

    @property
    def fingerprint(self) -> str:
        """Hash of everything that the spec states but for where the weights lie."""
        return fingerprint(replace(self, made_by="").to_json())

    @property
    def maker(self) -> str:
        """What `get_extractor` makes it by."""
        return self.made_by or self.name

    def to_json(self) -> str:
        """The spec as a JSON object, keys sorted; without `made_by` where it says no more than the name."""
        stated = {key: value for key, value in asdict(self).items() if key != "made_by" or value}
        return json.dumps(stated, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FeatureSpec:
        """Read what `to_json` wrote.

        Raises:
            SchemaError: The text is not a spec of this version of Triptych.
        """
        try:
            data = json.loads(text)
            known = {item.name for item in fields(cls)}
            data = {key: value for key, value in data.items() if key in known}
            data["shape"] = tuple(data["shape"])
            data["parameters"] = tuple((str(key), str(value)) for key, value in data["parameters"])
            return cls(**data)
        except (ValueError, KeyError, TypeError) as error:
            message = f"{text[:80]!r} is not a feature spec ({error}); extract the feature again as a new version"
            raise SchemaError(message) from error
