"""Requests to videos: a verb's fields, the canvas they become, and its sampling."""
