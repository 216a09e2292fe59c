"""Descriptive statistics of one dataset for the diversity report: lengths, token bands, repeated runs, comparisons."""
