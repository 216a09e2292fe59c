"""Language models behind OpenAI-compatible endpoints: one HTTP client, one journal and one retry policy for all."""
