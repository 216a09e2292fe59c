"""Units of diversity, one file per granularity: topics (one per example), tags (a few), tokens (many)."""
