"""The Python tool: programs of a model, run where they can do no harm (docs/reference/python_tool.md)."""
