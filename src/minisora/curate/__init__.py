"""Curation, from raw videos to training clips: importers, shots, scores, near-duplicates, and a ledger of every clip.

Reading order: table.py, importers/, analyse.py, words.py, duplicates.py, decide.py, ledger.py, runner.py, write.py.
"""
