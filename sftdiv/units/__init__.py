"""Units of diversity, one file a granularity: topics (one an example), tags (a few), tokens (many)."""
