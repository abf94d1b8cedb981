"""Video to text: our own captioner, and other models behind the same protocol.

Reading order: words.py, model.py, train.py, protocol.py, adapters.py, endpoint.py, command.py.
"""
