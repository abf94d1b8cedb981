"""One loop for every part: optimiser, EMA, checkpoints, log."""
