"""Exports a subset in the formats of TRL, LLaMA-Factory and axolotl, with a record of its origin."""
