"""Where network, data, cost table and accuracies are put together for the joint search."""
