"""Workloads, networks and bit-widths. Importing this package does not load torch (from_torch does)."""
