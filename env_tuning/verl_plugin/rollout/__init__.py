"""The rollout engine for machines without a GPU, from the attention kernel up to verl's replica interface.

`slots`, `sampling`, `request`, `weights` and `engine` know torch and transformers only; `server` adds asyncio, and
`replica` alone imports verl and Ray. Nothing is imported here, so that the server's process pays for neither.
"""
