"""The Beam jobs: they read committed tables, call `features`, write files, and commit as their last step."""
