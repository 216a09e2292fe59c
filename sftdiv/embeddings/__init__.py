"""Embedders, from texts to vectors, each one file and one YAML file under ``conf/embedder``."""
