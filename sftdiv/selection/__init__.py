"""Selection for all strategies: universe, ladder, level, draw and matching over a sparse matrix, examples x types."""
