"""Video to text: our own captioner, and other people's behind the same few lines.

Reading order: words.py, model.py, train.py, said.py, adapters.py, endpoint.py, command.py.
"""
