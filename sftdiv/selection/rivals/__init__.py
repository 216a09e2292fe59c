"""Published selectors without diversity levels, on the seam of the ladder: by embeddings, unit types or a number.

Each file's docstring has the formula, the source, the complexity and what is needed. They order the examples of a
stratum (`selection.ordered`); a smaller subset is a prefix of a larger one, and the draw seed has no effect.
"""
