"""What was computed before: results of the mapper and accuracies, by what they depend on, in one SQLite file."""
