"""The embedded bundle and its model card."""
