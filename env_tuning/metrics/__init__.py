"""Measures of single calls: written as possible answers say (AST), with right results (EXEC), called when needed.

Owns: the three comparisons and their shares. Refuses: asking models, playing episodes, rewards.
"""
