"""Prefect flows, the command line and the report: they schedule what `pipelines` runs."""
