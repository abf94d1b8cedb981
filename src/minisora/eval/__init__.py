"""Metrics and the report: how well a model follows prompts, between floor and ceiling.

Reading order: suites.py, command.py, rows.py; following.py, report.py, stickers.py, score.py; the suites that give
rows, verbs.py, aspects.py, motions.py, world.py (space.py, physics.py) and variety.py; metrics.py, figures.py,
quality.py and folder.py beside them. The judges are in judge/.
"""
