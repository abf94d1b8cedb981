"""Delivery size: a small network that makes decoded frames four times as wide and as high.

Reading order: model.py, files.py, train.py.
"""
