"""Tool environments: classes whose public methods are tools, and one episode's worth of them."""

from env_tuning.environments.scenario import Scenario
from env_tuning.environments.tool_class import ToolClass

__all__ = ["Scenario", "ToolClass"]
