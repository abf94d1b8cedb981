"""Judges, which read pixels: segmentation, tracks, playroom and sticker judges, their training.

Reading order: network.py; segment.py, tracks.py, playroom.py, train_playroom.py; stickers.py,
train_stickers.py.
"""
