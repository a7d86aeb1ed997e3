"""Interactions: the multi-turn environments as an agent loop sees them."""
