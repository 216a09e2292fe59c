"""Descriptive statistics of one dataset for the diversity report: lengths, token bands, repeated n-grams, comparisons."""
