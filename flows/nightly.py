"""The nightly flow: each stage's waves as Prefect tasks, then the report. It schedules; `pipelines` does the work."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from features.errors import AllMediaFailedError, TriptychError
from features.fusion.recipe import load_recipe
from features.privacy.consent_policy import find_policy
from features.store import Store
from features.store.labels import load_labels
from features.store.models import find_model, list_models
from flows import stages
from flows.consenting import apply_file, extract_planner, late_planner
from flows.console import progress
from flows.forms import with_parameters_of
from flows.metering import Meter
from flows.outcome import NightlyOutcome, StageOutcome
from flows.report.collect import collect
from flows.report.render import write_report
from flows.training import train_recipe, why_not_train
from pipelines.leasing import leased
from pipelines.options import NightlyConfig, config_from_mapping
from pipelines.reading import num_media
from pipelines.stated import brings_labels, state_listed
from pipelines.supervise import WaveError, run_wave
from pipelines.waves import Summary, Wave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

    from features.fusion.recipe import Recipe


_SHOWN = 5


def _is_worth_retrying(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Bad input fails the same way again; a wave has had its attempts already."""
    del task, task_run
    error = state.data if isinstance(state.data, Exception) else None
    if error is None:
        try:
            state.result()
        except Exception as raised:  # noqa: BLE001 - only looked at
            error = raised
    return not isinstance(error, TriptychError) or isinstance(error, WaveError)


@task(name="wave", task_run_name="{label}", retries=1, retry_delay_seconds=5, retry_condition_fn=_is_worth_retrying)
def run_wave_task(label: str, wave: Wave, config: NightlyConfig, beam_args: list[str]) -> Summary:
    """One Beam run, supervised."""
    with progress(label, num_media(Store.open(wave.store), wave)) as tell:
        return run_wave(wave, config, beam_args, on_progress=tell)


@task(name="label", retries=1, retry_delay_seconds=5, retry_condition_fn=_is_worth_retrying)
def label_task(store: Store, label_set: str, path: str, run_id: str) -> str:
    """Load the labels."""
    loaded = load_labels(store, label_set, Path(path), run_id=run_id)
    some = [*loaded.skipped[:_SHOWN], *(["…"] if len(loaded.skipped) > _SHOWN else [])]
    left_out = f", {len(loaded.skipped)} left out ({'; '.join(some)})" if some else ""
    return f"{loaded.num_labels} labels, {loaded.num_changed} rows written{left_out}"


@task(name="train", retries=1, retry_delay_seconds=5, retry_condition_fn=_is_worth_retrying)
def train_task(store: Store, recipe: str, run_id: str) -> str:
    """Train and register a model."""
    return train_recipe(store, recipe, run_id).ref.key


@task(name="report", retries=1, retry_delay_seconds=5, retry_condition_fn=_is_worth_retrying)
def report_task(store: Store, path: str) -> str:
    """Write the report and link it."""
    place = Path(path).absolute() if path else store.path / "report.html"
    write_report(collect(store), place)
    create_link_artifact(key="report", link=place.as_uri(), link_text=place.name, description=str(place))
    return str(place)


class _Run:
    """One nightly run: its stages so far, what went wrong without ending it, and where it reports progress."""

    def __init__(self, config: NightlyConfig, beam_args: list[str], on_progress: Callable[[str], None]) -> None:
        self.config = config
        self.beam_args = beam_args
        self.run_id = stages.new_run_id()
        self.say = on_progress
        self.stages: list[StageOutcome] = []
        self.problems: list[TriptychError] = []

    def waves(self, store: Store, stage: str, plan: Callable[[], Iterable[Wave]]) -> None:
        """Run a stage's waves one after the other and note what they came to, also where one fails.

        Where every source of a wave of ingest fails, its other waves are left for the next run, and the later stages
        do what there is to do; the failure is raised at the end of the run.
        """
        started_at, summary, status, detail = datetime.now(UTC), Summary.none(), "failed", ""
        meter = Meter(self.config)
        try:
            with closing(leased(store, self.run_id, plan, on_wait=self.say)) as waves:
                for number, wave in enumerate(waves, start=1):
                    label = stages.wave_label(stage, number, wave)
                    summary = summary.plus(run_wave_task(label, wave, self.config, self.beam_args))
                    meter.add(wave)
                    stages.check_ingested(store, wave)
            status = "done"
            meter.note(store, self.run_id, "nightly", summary)
        except AllMediaFailedError as error:
            self.problems.append(error)
            detail = f"failed: {error}"
        finally:
            if summary.num_batches or status == "failed":
                stages.record_run(store, self.run_id, "nightly", stage, started_at, summary, status)
        self._note(stage, started_at, summary, detail)

    def step(self, stage: str, work: Callable[[], str]) -> str:
        """Do a stage that is one piece of work; what it refuses is told, and raised at the end of the run."""
        started_at = datetime.now(UTC)
        try:
            detail = work()
        except TriptychError as error:
            self.problems.append(error)
            detail = f"failed: {error}"
        self._note(stage, started_at, Summary.none(), detail)
        return detail

    def _note(self, stage: str, started_at: datetime, summary: Summary, detail: str = "") -> None:
        seconds = (datetime.now(UTC) - started_at).total_seconds()
        self.stages.append(StageOutcome(stage, summary, seconds, detail))
        if detail:
            self.say(f"{stage}: {detail}")


def run_nightly(
    root: str,
    config: NightlyConfig,
    *,
    beam_args: list[str] | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> NightlyOutcome:
    """Ingest, extract, label, train, score and report, inside a flow run.

    Labels or a recipe that are refused do not keep the archive from being scored by the models that there are; the
    refusal is raised at the end.
    """
    stages.check_inputs(config, root)
    recipe = load_recipe(config.recipe)
    run = _Run(config, beam_args or [], on_progress)
    store, _ = stages.plan_ingest(config, root, run.run_id)
    levels = stages.wanted_extractors(config, store)
    run.waves(store, "ingest", partial(stages.plan_unfinished, config, store, run.run_id))
    if find_policy(store.path, config.consent) is not None:
        run.step("consent", lambda: apply_file(store, config.consent, run.run_id))
        run.waves(store, "late", late_planner(config, store, run.run_id))
    if brings_labels(config):
        run.step("source labels", lambda: state_listed(config, store, run.run_id).text())
    run.waves(store, "extract", extract_planner(config, store, levels, run.run_id))
    if config.labels:
        run.step("label", lambda: label_task(store, recipe.labels, config.labels, run.run_id))
    run.step("train", lambda: _train(run, store, recipe))
    for name in sorted({ref.name for ref in list_models(store)}):
        ref = find_model(store, name)
        run.waves(store, f"score {ref.key}", partial(stages.plan_score, config, store, ref, run.run_id))
    report = run.step("report", lambda: report_task(store, config.report))
    outcome = NightlyOutcome(store.root, run.run_id, tuple(run.stages), report)
    create_table_artifact(key="counts", table=outcome.count_rows(), description=f"run {run.run_id} of {store.root}")
    if run.problems:
        raise run.problems[0]
    return outcome


def _train(run: _Run, store: Store, recipe: Recipe) -> str:
    reason = why_not_train(store, recipe)
    if reason is not None:
        return f"trained nothing: {reason}"
    run.say(f"training {recipe.name}")
    return train_task(store, run.config.recipe, run.run_id)


@flow(name="nightly", description="Ingest, extract, label, train, score and report on what is new.")
@with_parameters_of(NightlyConfig, store=(str, "./triptych-store"))
def nightly(store: str, **options: Any) -> str:  # noqa: ANN401 - typed by the signature above
    """The nightly run over a store, as the form of a deployment starts it."""
    outcome = run_nightly(store, config_from_mapping(NightlyConfig, options))
    return outcome.report
