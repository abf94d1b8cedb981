"""Runs that were begun, and how they go: in the terminal, as a page, for TensorBoard."""
