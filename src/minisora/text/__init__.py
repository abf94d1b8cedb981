"""Text encoders: prompts to token states."""

from minisora.text.encoder import TextEncoder, TextTokens, sentences
from minisora.text.minilm import MiniLM, find_minilm

__all__ = ["MiniLM", "TextEncoder", "TextTokens", "find_minilm", "sentences"]
