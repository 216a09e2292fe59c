"""Arithmetic over many vectors, for units and selectors: nearest neighbours, products, distinct rows, threads."""
