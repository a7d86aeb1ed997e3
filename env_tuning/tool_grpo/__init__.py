"""The tool-use systems that are trained on dialogues: an assistant's tools, maths with Python, and both at once.

Owns: their offline data, public sets by name, the tiny model with habits to unlearn, and the launcher's flags. Refuses:
episodes, tools and rewards, which are the package's (docs/reference/dialogues.md). `recipes/tool_grpo/` trains them.
"""
