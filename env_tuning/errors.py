"""The one error that is the user's to fix.

Owns: `UserError`. Everything that a wrong path, key, file or setting causes is raised as one (or as a `ValueError`
in rooms without a terminal) with a single line that names the fix; the terminal prints the line and exits with 2.
"""


class UserError(ValueError):
    """One line that says what is wrong and how to put it right."""
