"""A tool class small enough to reason about, for tests of episodes and of the judge."""

from env_tuning.environments.tool_class import ToolClass


class Counter(ToolClass):
    """A number."""

    def __init__(self, config, long_context=None):
        self.value = config.get("value", 0)

    def add(self, amount):
        """Add."""
        self.value += amount
        return {"value": self.value}

    def reset(self):
        """Back to zero."""
        self.value = 0
        return {"value": 0}

    def read(self):
        """Look."""
        return {"value": self.value}
