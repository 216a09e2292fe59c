"""Embedders turn texts into vectors; each is one file and one YAML under ``conf/embedder``."""
