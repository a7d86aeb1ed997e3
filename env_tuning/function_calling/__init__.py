"""The function-calling system: retrieve tools, select them, fill their parameters, ask for what is missing.

Owns: its records, retrieval, episode and rewards. Refuses: executing a tool; calls are compared with the right ones.
`recipes/function_calling/` trains it.
"""
