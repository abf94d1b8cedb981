"""Requests to videos: what a verb asks for, the canvas it comes to, and how that is sampled."""
