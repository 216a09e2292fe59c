"""The chosen subset as other programs load it: TRL, LLaMA-Factory and axolotl, with a manifest of where it came from."""
