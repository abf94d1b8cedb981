"""Prompts in the playroom's terms: reading their facts, filling the gaps, writing a dense caption.

Reading order: facts.py, lexicon.py, words.py, chinese.py, state.py, nouns.py, verbs.py, parse.py,
complete.py, write.py.
"""
