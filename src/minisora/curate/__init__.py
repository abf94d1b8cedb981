"""Curation, from raw videos to training clips: importers, shots, scores, near-duplicates, a ledger.

Reading order: table.py, importers/, analyse.py, words.py, duplicates.py, decide.py, ledger.py,
runner.py, write.py.
"""
