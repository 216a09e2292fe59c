"""The pages of single cells that a study's report links to: one folder of static files that opens from disk."""
