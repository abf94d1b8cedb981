"""Prompts to embeddings."""

from minisora.text.encoder import TextEncoder, TextTokens, find_minilm

__all__ = ["TextEncoder", "TextTokens", "find_minilm"]
