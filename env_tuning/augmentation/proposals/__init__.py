"""Hints for an environment that has none: from failed calls to rules that a person reviews (docs/augmentation.md)."""
