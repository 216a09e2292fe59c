"""One selector for all strategies: universe, ladder, level, draw and match over a sparse matrix of examples x types."""
