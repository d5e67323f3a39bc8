"""The joint search: problem, exact seeds, samplers, journal and the front; import from its modules."""
