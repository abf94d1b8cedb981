"""Training runs: what one will take (estimate.py), and how those that were begun go (logs.py, page.py)."""
