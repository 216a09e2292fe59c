"""Content-addressed cache, atomic file writes, hashing, and the folders of cells."""
