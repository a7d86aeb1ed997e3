"""Whether a final answer is the right one."""
