"""Mutation testing of the core's tests."""
