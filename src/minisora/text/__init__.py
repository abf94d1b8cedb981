"""Prompts to embeddings."""

from minisora.text.encoder import TextEncoder, TextTokens, sentences
from minisora.text.minilm import MiniLM, find_minilm

__all__ = ["MiniLM", "TextEncoder", "TextTokens", "find_minilm", "sentences"]
