"""Simulators and footage: clips with captions and, where the world is ours, ground truth."""
