"""Fuzzing of every border."""
