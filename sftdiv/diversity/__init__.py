"""Diversity of a set of texts: one pure function a metric, one metric a file; ``describe`` gives them all as one flat dict."""
