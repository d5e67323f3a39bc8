"""The command line. Nothing imports this package; importing it loads no torch, matplotlib or pymoo."""
