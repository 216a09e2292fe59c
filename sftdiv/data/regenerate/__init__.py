"""Rewriting the responses of a corpus with one model: what is asked, and the corpus that is made of the answers."""
