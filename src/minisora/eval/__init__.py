"""Scores with a floor and a ceiling, read from pixels by a judge that never sees the model."""
