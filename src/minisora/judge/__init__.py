"""What reads pixels: segmentation, tracks, the judges of the playroom and of the stickers, and how they are trained.

Reading order: network.py; segment.py, tracks.py, playroom.py, train_playroom.py; stickers.py, train_stickers.py.
"""
