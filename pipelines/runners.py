"""Which runner a pipeline gets: pinned in-process or many-process ones, or the one that Beam's options name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.options import RunConfig


def pipeline_options(config: RunConfig, beam_args: Sequence[str] = ()) -> PipelineOptions:
    """Beam's options for a configuration; `beam_args` are Beam's own flags and win.

    `DirectRunner` is never used: it tries another runner first and falls back silently.
    """
    own = []
    if config.runner == "multi":
        own = ["--direct_running_mode=multi_processing", f"--direct_num_workers={config.num_workers}"]
    return PipelineOptions([*own, *beam_args])


def run_pipeline(build: Callable[[beam.Pipeline], Any], options: PipelineOptions) -> None:
    """Build a pipeline and run it to its end."""
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    named = options.view_as(StandardOptions).runner
    pipeline = beam.Pipeline(options=options) if named else beam.Pipeline(runner=FnApiRunner(), options=options)
    build(pipeline)
    pipeline.run().wait_until_finish()
