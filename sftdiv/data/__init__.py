"""Step 1: from files, a hub data set or the embedded world to a `Corpus`: distinct examples in canonical order, memory-mapped."""
