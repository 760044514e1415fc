"""Tokenizers: sentencepiece models that are fitted on a store's text, and lie in it as versions."""
