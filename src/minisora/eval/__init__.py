"""Evaluation: metrics, suites and the report on prompt following, between a floor and a ceiling.

Reading order: suites.py, command.py, rows.py; following.py, report.py, stickers.py, score.py; the
suites that give rows: verbs.py, aspects.py, motions.py, world.py (space.py, physics.py) and
variety.py; then metrics.py, figures.py, quality.py and folder.py. The judges are in judge/.
"""
