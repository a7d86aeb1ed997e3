"""Rewards: pure functions of a `Trajectory`, each returning ``score`` and its parts; one registry."""
