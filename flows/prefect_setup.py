"""Settings of Prefect that must stand before it is imported."""

from __future__ import annotations

import os


def quiet_prefect(level: str = "CRITICAL") -> None:
    """No analytics, no banner, and no log where the command line tells errors itself; what the user set stays."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", level)
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")  # 20 are too few when busy
