"""Language models behind an OpenAI-compatible endpoint: one client, one ledger, one place for retries, whoever asks."""
