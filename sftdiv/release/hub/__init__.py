"""The model card of a finished model, and its upload to the Hugging Face hub."""
