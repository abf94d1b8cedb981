"""HTTP API, jobs and page."""
