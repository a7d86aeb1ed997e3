"""Actionable environment augmentation: hints on top of raw results (docs/augmentation.md)."""
