"""The hints of the eight BFCL tool classes, one module each; every module's `RULES` are tried in order.

The sentences are this project's own. They say which kind of thing to check or to do first. They name a tool only where
the dependency is the lesson, and never a value of a solution.
"""
