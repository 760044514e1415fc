from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.errors import ConfigError, ModelError
from features.fusion.recipe import Task
from features.fusion.targets import media_classes
from features.schema import data_schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.fusion.conftest import Archive


def changed(table: pa.Table, media_id: str, values: Mapping[str, Any]) -> pa.Table:
    """The table with some columns of one media's rows replaced."""
    rows = [{**row, **values} if row["media_id"] == media_id else row for row in table.to_pylist()]
    return pa.Table.from_pylist(rows, schema=table.schema)


def without(table: pa.Table, media_id: str) -> pa.Table:
    return table.filter(pc.not_equal(table["media_id"], media_id))


def first(archive: Archive) -> str:
    return str(archive.media["media_id"][0].as_py())


def test_everything_is_there(archive: Archive) -> None:
    examples = archive.examples()
    assert len(examples) == 60
    assert examples.task.classes == ("low", "high")
    assert {name: values.shape for name, values in examples.inputs.values.items()} == {
        "video": (60, 12),
        "audio": (60, 8),
        "text": (60, 10),
    }
    assert all(mask.all() for mask in examples.present.values())
    assert np.bincount(examples.task.values).tolist() == [30, 30]
    assert examples.left_out == {}
    assert {split: len(examples.of_split(split)) for split in ("train", "dev", "test")} == {
        "train": 36,
        "dev": 12,
        "test": 12,
    }


def test_order_of_media_does_not_show(archive: Archive) -> None:
    one, other = archive.examples(), archive.examples(media=archive.media.take(list(range(59, -1, -1))))
    assert other.media_id == one.media_id[::-1]
    assert np.array_equal(other.task.values, one.task.values[::-1])
    assert np.array_equal(other.inputs.values["text"], one.inputs.values["text"][::-1])


@pytest.mark.parametrize("status", ["absent", "empty", "skipped"])
def test_absence_is_a_mask(archive: Archive, status: str) -> None:
    name = first(archive)
    coverage = {**archive.coverage, "sounds@1": changed(archive.coverage["sounds@1"], name, {"status": status})}
    examples = archive.examples(coverage=coverage)
    assert len(examples) == 60
    assert not examples.present["audio"][0]
    assert examples.present["video"][0]
    assert examples.present["audio"][1:].all()


@pytest.mark.parametrize("how", ["failed", "not run"])
def test_what_failed_is_left_out_unless_asked_for(archive: Archive, how: str) -> None:
    name, table = first(archive), archive.coverage["sounds@1"]
    table = changed(table, name, {"status": "failed"}) if how == "failed" else without(table, name)
    coverage = {**archive.coverage, "sounds@1": table}
    examples = archive.examples(coverage=coverage)
    assert len(examples) == 59
    assert examples.left_out == {f"sounds@1 {how}": 1}
    asked = archive.examples(coverage=coverage, recipe=replace(archive.recipe, include_failed=True))
    assert len(asked) == 60
    assert not asked.present["audio"][0]


def test_recognised_text_counts_only_where_allowed(archive: Archive) -> None:
    sources = {**archive.sources, first(archive): "asr:pocketsphinx"}
    assert not archive.examples(sources=sources).present["text"][0]
    allowed = replace(archive.recipe, allow_recognised_text=True)
    assert archive.examples(sources=sources, recipe=allowed).present["text"][0]


def test_refused_media_are_left_out(archive: Archive) -> None:
    media = changed(archive.media, first(archive), {"consent": "refused"})
    examples = archive.examples(media=media)
    assert first(archive) not in examples.media_id
    assert examples.left_out == {"consent refused for training": 1}


def test_a_segment_without_any_modality_is_left_out(archive: Archive) -> None:
    name = first(archive)
    features = {key: without(rows, name) for key, rows in archive.features.items()}
    examples = archive.examples(features=features)
    assert examples.left_out == {"no modality": 1}
    assert name not in examples.media_id


def test_media_without_a_split_are_left_out(archive: Archive) -> None:
    splits = {name: split for name, split in archive.splits.items() if name != first(archive)}
    assert archive.examples(splits=splits).left_out == {"no split": 1}


def test_a_missing_feature_is_named(archive: Archive) -> None:
    features = {key: rows for key, rows in archive.features.items() if key != "words@1"}
    with pytest.raises(ConfigError, match=r"wants feature 'words@1'.*run: triptych extract words"):
        archive.examples(features=features)


def test_no_labels_for_the_task(archive: Archive) -> None:
    with pytest.raises(ModelError, match=r"'mood' has no class for task 'age' \(tasks in it: \['mood'\]\)"):
        archive.examples(recipe=replace(archive.recipe, tasks=(Task("age"),)))


def test_a_label_of_no_class_is_named(archive: Archive) -> None:
    labels = changed(archive.labels, first(archive), {"class": "odd"})
    with pytest.raises(ModelError, match=f"label 'odd' of media {first(archive)} is none of"):
        archive.examples(labels=labels)


def test_annotators_are_counted_by_weight(archive: Archive) -> None:
    row = archive.labels.to_pylist()[0]
    other = "low" if row["class"] == "high" else "high"

    def target(weight: float) -> list[str]:
        more = pa.Table.from_pylist([{**row, "class": other, "weight": weight}], schema=archive.labels.schema)
        examples = archive.examples(labels=pa.concat_tables([archive.labels, more]))
        return [
            examples.task.classes[t]
            for name, t in zip(examples.media_id, examples.task.values, strict=True)
            if name == first(archive)
        ]

    assert target(2.0) == [other]
    assert target(0.5) == [row["class"]]
    assert target(1.0) == []  # equal: unknown


def test_windows_take_the_class_that_overlaps_most(archive: Archive) -> None:
    recipe = replace(archive.recipe, segmentation="window:2s")
    examples = archive.examples(recipe=recipe)
    assert len(examples) == 120
    assert np.array_equal(examples.task.values[::2], examples.task.values[1::2])


def test_shots_are_learned_from_where_labelled_media_have_them(archive: Archive) -> None:
    ids = archive.media["media_id"].to_pylist()
    archive = replace(archive, recipe=replace(archive.recipe, segmentation="shots"))
    for media_id in ids:
        archive = replace(archive, media=changed(archive.media, media_id, {"has_video": True}))
    rows = [{"media_id": name, "start_us": at, "end_us": at + 2_000_000} for name in ids for at in (0, 2_000_000)]
    shots = pa.Table.from_pylist(rows, schema=data_schema_of("shots@1"))
    assert len(archive.examples(shots=shots)) == 2 * len(ids)
    with pytest.raises(ConfigError, match="1 of 60 media with video have no shots"):
        archive.examples(shots=shots.slice(2))
    unlabelled = archive.labels.filter(pc.not_equal(archive.labels["media_id"], ids[0]))
    assert len(archive.examples(shots=shots.slice(2), labels=unlabelled)) == 2 * len(ids) - 2


def test_a_planted_leak_is_caught(make_archive: Callable[..., Archive]) -> None:
    archive = make_archive()
    sides = {split: next(name for name, own in archive.splits.items() if own == split) for split in ("train", "test")}
    media = archive.media
    for name in sides.values():
        media = changed(media, name, {"subject_ids": ["one person"]})
    with pytest.raises(ModelError, match="stands on two sides"):
        archive.examples(media=media)


def test_features_of_one_modality_are_joined(archive: Archive) -> None:
    features = tuple(
        replace(item, modality="audio") if item.name == "words@1" else item for item in archive.recipe.features
    )
    encoders = {name: config for name, config in archive.recipe.encoders.items() if name != "text"}
    examples = archive.examples(recipe=replace(archive.recipe, features=features, encoders=encoders))
    assert list(examples.inputs.values) == ["video", "audio"]
    assert examples.inputs.values["audio"].shape == (60, 18)


def test_classes_that_no_label_holds_are_left_out(archive: Archive) -> None:
    task = Task("mood", ("high", "middle", "low"))
    assert archive.examples(recipe=replace(archive.recipe, tasks=(task,))).task.classes == ("high", "low")
    assert archive.examples(recipe=replace(archive.recipe, tasks=(Task("mood"),))).task.classes == ("high", "low")


def test_classes_by_media(archive: Archive, make_table: Callable[..., pa.Table]) -> None:
    stated = [("a", "x"), ("a", "y"), ("a", "y"), ("b", "y"), ("b", "x"), ("c", None)]
    rows = [{"media_id": name, "class": held, "task": "mood"} for name, held in stated]
    assert media_classes(archive.recipe, {"mood": make_table("labels/mood", rows)}) == {"a": "y", "b": "x"}


def test_other_kinds_of_arrow_text_are_read(archive: Archive) -> None:
    features = {
        key: rows.set_column(
            rows.schema.get_field_index("media_id"), "media_id", rows["media_id"].cast(pa.large_string())
        )
        for key, rows in archive.features.items()
    }
    examples = archive.examples(features=features)
    assert np.array_equal(examples.inputs.values["text"], archive.examples().inputs.values["text"])
