"""Timeloop's files, in and out: architectures, constraints, energy and area tables, problems and mappings."""
