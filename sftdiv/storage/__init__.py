"""Content-addressed cache, atomic files, hashing, and the folders of cells."""
