"""The diversity report of a dataset: page, tables, figures, verdict and terminal output."""
