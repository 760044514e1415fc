"""Extractors for Triptych."""
