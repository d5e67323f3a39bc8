"""Tables and figures of published work, made again beside the published numbers."""
