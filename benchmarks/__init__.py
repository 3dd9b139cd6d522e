"""Measurements. Timings live here, never in tests."""
