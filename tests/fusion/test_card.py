from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from markdown_it import MarkdownIt

from features.errors import ModelError
from features.fusion.card import model_card
from features.fusion.configs import EncoderConfig, TrainingConfig
from features.fusion.facts import ModelFacts, SeedFacts, facts_of
from features.fusion.figures import difference_words, result_words
from features.fusion.limits import limits
from features.fusion.metrics import Metrics
from features.fusion.recipe import Recipe, RecipeFeature, Task
from features.fusion.results import Calibration, Comparison, Difference, ModelResult, TaskComparison
from features.spec import FeatureSpec

AUDIO = ModelResult("audio", Metrics(0.7), Metrics(0.7, 0.7, 0.7, 0.7, 0.7, 0.6, 0.4, 0.05), 0.7, 0.6, 0.8, 50)
FUSED = replace(
    AUDIO, name="fused", test=Metrics(0.84, 0.8, 0.8, 0.812, 0.8, 0.5, 0.3, 0.04), score=0.84, low=0.75, high=0.92
)
MOOD = TaskComparison(
    task="mood",
    kind="class",
    classes=("calm", "a|b <i>*x*"),
    num_rows=(1200, 40, 50),
    num_test_groups=25,
    majority_class="calm",
    majority=Metrics(0.6, 0.3, 0.5, 0.4, 0.4, 0.7, 0.5, 0.02),
    fused=FUSED,
    single=(AUDIO, replace(AUDIO, name="text")),
    subsets=(),
    best_single="audio",
    gain=Difference("audio", 0.14, 0.02, 0.26),
    absence=(Difference("audio", 0.2, 0.1, 0.3), Difference("text", 0.0, -0.05, 0.05)),
    alone=(),
    calibration=(Calibration(1.25, 12, True, 0.09, 0.04, 0.55, 0.5),),
)
AROUSAL = replace(
    MOOD,
    task="arousal",
    kind="regression",
    classes=(),
    majority_class="",
    majority=Metrics(mae=0.9, rmse=1.0),
    fused=ModelResult("fused", Metrics(mae=0.4), Metrics(mae=0.412, rmse=0.5, r2=0.6), -0.412, -0.45, -0.38, 50),
    single=(),
    gain=Difference("", 0.0, 0.0, 0.0),
    absence=(),
    calibration=(),
)


@pytest.fixture
def facts() -> ModelFacts:
    recipe = Recipe(
        name="moods",
        labels="mood",
        tasks=(Task("mood", ("calm", "a|b <i>*x*", "never")),),
        segmentation="labels:mood",
        score_segmentation="whole",
        features=(RecipeFeature("mfcc@1", "audio"), RecipeFeature("minilm@1", "text", "sequence")),
        encoders={"audio": EncoderConfig("linear", 16)},
        training=TrainingConfig(seeds=(0, 1)),
    )
    specs = (
        FeatureSpec("mfcc", 1, "audio", "audio", shape=(26,), source="librosa"),
        FeatureSpec("minilm", 1, "text", "transcripts", shape=(384,), licence="Apache-2.0", weights_fingerprint="ab12"),
    )
    return ModelFacts(
        name="moods",
        version="3",
        recipe=recipe,
        comparison=Comparison((MOOD,), (1200, 40, 50), 25, (0, 1), 2000, "single", {"absent in audio": 7}),
        classes={"mood": MOOD.classes},
        shapes={"audio": (26,), "text": (64, 384)},
        specs=specs,
        table_versions={"labels/mood": 5, "features/mfcc@1": 2},
        temperatures={"mood": 1.25},
        seeds=(SeedFacts(0, 11, 0.31, 0.52), SeedFacts(1, 9, 0.33, 0.5)),
        num_parameters=0,
        created_at="2026-01-02T03:04:05+00:00",
        fingerprint="feedbeef",
        run_id="run-1",
        code_version="0.1.0",
    )


def with_task(facts: ModelFacts, **changes: Any) -> ModelFacts:
    comparison = replace(facts.comparison, tasks=(replace(facts.comparison.tasks[0], **changes),))
    return replace(facts, comparison=comparison)


def cells_of(card: str) -> list[list[str]]:
    """The rows of all tables, as a Markdown reader sees them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(card)
    rows: list[list[str]] = []
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("td_open", "th_open"):
            rows[-1].append("".join(child.content for child in token.children or ()))
    return rows


def test_a_card_tells_results_data_features_and_seeds(facts: ModelFacts) -> None:
    rows = cells_of(model_card(facts))
    assert ["fused", "84.0 % (75.0 to 92.0)", "0.800", "0.800", "0.812", "0.800", "0.500", "0.300", "0.040"] in rows
    assert ["always calm", "60.0 %", "0.300", "0.500", "0.400", "0.400", "0.700", "0.500", "0.020"] in rows
    assert ["audio", "-20.0 points (-30.0 to -10.0)"] in rows
    assert ["train", "1,200"] in rows
    assert ["labels/mood", "5"] in rows
    assert ["absent in audio", "7"] in rows
    assert ["1", "9", "0.3300", "0.5000"] in rows
    text = next(row for row in rows if row[0] == "minilm@1")
    assert text == ["minilm@1", "text", "sequence", "384", "minilm", "Apache-2.0", "ab12", facts.specs[1].fingerprint]
    assert ["audio", "26", "linear", "16", "0.5"] in rows


def test_a_card_tells_verdict_calibration_and_use(facts: ModelFacts) -> None:
    card = model_card(facts)
    assert "\n# moods, version 3\n" in f"\n{card}"
    assert "Gain shown: fusion +14.0 points over audio alone" in card
    assert "temperature 1.250, fitted on 12 dev groups that took no part in early stopping" in card
    assert "calibration error 0.090 before and 0.040 after it" in card
    assert "triptych predict moods@3 clip.mp4" in card


def test_the_python_of_a_card_is_python(facts: ModelFacts) -> None:
    """What it imports is there, and it compiles."""
    script = model_card(facts).partition("```python\n")[2].partition("```")[0]
    compile(script, "card.md", "exec")
    exec("\n".join(line for line in script.splitlines() if line.startswith("from")), {})


def test_names_cannot_break_a_card(facts: ModelFacts) -> None:
    """A class whose name is markup reads as it is written, and every table keeps its columns."""
    rows = cells_of(model_card(facts))
    assert ["mood", "one of several classes", "calm, a|b <i>*x*", "mood"] in rows
    tokens = MarkdownIt("commonmark").enable("table").parse(model_card(facts))
    assert not [child for token in tokens for child in token.children or () if child.type in ("html_inline", "em_open")]


def test_a_gain_that_is_shown_is_no_limit(facts: ModelFacts) -> None:
    told = "\n".join(limits(facts))
    assert "Without audio the accuracy changes by -20.0 points" in told
    assert "It never says never" in told
    for absent in ("No gain", "seed", "temperature", "groups in the test split", "always saying", "Without text"):
        assert absent not in told


def test_limits_follow_from_the_figures(facts: ModelFacts) -> None:
    weak = with_task(
        facts,
        gain=Difference("audio", 0.01, -0.05, 0.07),
        num_test_groups=8,
        fused=replace(FUSED, low=0.55, num_test_present=44),
        calibration=(replace(MOOD.calibration[0], own_groups=False),),
    )
    weak = replace(weak, comparison=replace(weak.comparison, seeds=(0,), transductive="subject"))
    unlicensed = replace(facts.specs[1], licence="")
    told = "\n".join(limits(replace(weak, specs=(facts.specs[0], unlicensed))))
    assert "No gain over audio alone is shown" in told
    assert "Only 8 groups" in told
    assert "It is not shown to be better than always saying the same" in told
    assert "6 of 50 test segments had no modality" in told
    assert "early stopping looked at too" in told
    assert "Trained with one seed" in told
    assert "several segments of a subject" in told
    assert "`minilm@1` state no licence" in told


def test_without_early_stopping_the_dev_split_is_calibrations_own(facts: ModelFacts) -> None:
    whole = with_task(facts, calibration=(replace(MOOD.calibration[0], own_groups=False),))
    recipe = replace(facts.recipe, training=replace(facts.recipe.training, early_stopping=False))
    assert "looked at too" in model_card(whole)
    assert "looked at too" not in model_card(replace(whole, recipe=recipe))


def test_a_regression_is_told_by_its_error(facts: ModelFacts) -> None:
    task = Task("arousal", kind="regression")
    comparison = replace(facts.comparison, tasks=(MOOD, AROUSAL))
    card = model_card(replace(facts, comparison=comparison, recipe=replace(facts.recipe, tasks=(task,))))
    assert ["fused", "0.412 (0.380 to 0.450)", "0.500", "-", "0.600"] in cells_of(card)
    assert "mean absolute error (95 % interval)" in card
    assert "- arousal: no modality was trained alone" in card
    assert "- mood: gain shown: fusion +14.0 points over audio alone" in card


def test_figures_have_the_sign_that_people_expect() -> None:
    assert result_words("regression", AROUSAL.fused) == "0.412 (0.380 to 0.450)"
    gain = Difference("text", 0.0, -0.05, 0.1)
    assert difference_words("class", gain) == "+0.0 points (-5.0 to +10.0)"
    assert difference_words("class", gain, sign=-1) == "+0.0 points (-10.0 to +5.0)"
    assert difference_words("regression", gain) == "+0.000 (-0.100 to +0.050)"
    assert difference_words("regression", Difference("text", 0.1, 0.05, 0.2), sign=-1) == "+0.100 (+0.050 to +0.200)"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"created_at": 3}', '{"recipe": '])
def test_what_is_no_model_has_no_facts(text: str) -> None:
    with pytest.raises(ModelError, match="version '3' is damaged"):
        facts_of(text, version="3")
