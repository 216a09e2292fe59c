"""What a finished model's folder says of itself, and its way to the hub."""
