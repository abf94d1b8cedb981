"""Training runs: planning one (estimate.py), and watching their logs (logs.py, page.py)."""
