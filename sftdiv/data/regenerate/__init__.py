"""Rewrites the responses of a corpus with one model: the requests, and the corpus made of the answers."""
