"""Diversity of a set of texts: one metric per file as a pure function, listed and measured by ``registry``."""
