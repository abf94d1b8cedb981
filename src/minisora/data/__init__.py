"""Clips to batches: shards, windows, packing."""
