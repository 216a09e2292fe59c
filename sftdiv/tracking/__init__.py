"""Where the numbers of a run are sent while it runs: W&B, or nowhere."""
