"""The command line: one thin file for each command."""

from minisora.cli.main import app, main

__all__ = ["app", "main"]
