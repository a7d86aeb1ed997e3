"""The Python tool: programs of a model, run where they can do no harm. docs/python_tool.md says what is enforced."""
