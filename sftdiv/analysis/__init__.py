"""Statistics of a finished study: how performance moves with diversity, and how sure that is."""
