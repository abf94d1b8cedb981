"""Raw videos to training clips, each of which is accounted for: importers, shots, scores, near-duplicates, ledger.

Reading order: table.py, importers/, analyse.py, words.py, duplicates.py, decide.py, ledger.py, runner.py, write.py.
"""
