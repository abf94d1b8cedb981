"""Raw videos to training clips: importers, shots, scores, near-duplicates, captions, ledger."""
