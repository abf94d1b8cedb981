"""Judges, which read pixels: segmentation, tracks, the judges of the playroom and the stickers, and their training.

Reading order: network.py; segment.py, tracks.py, playroom.py, train_playroom.py; stickers.py, train_stickers.py.
"""
