"""The way out: rows of a table, or features aligned with segments, as files that other programs read."""
