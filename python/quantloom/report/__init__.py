"""Results for people: the figure of a front and its table."""
