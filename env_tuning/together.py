"""Many coroutines at once, of which the first error ends the rest.

Owns: `together`. Refuses: what they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any


async def together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run everything; the first error, or being cancelled, ends the rest before it is raised."""
    running = [asyncio.ensure_future(part) for part in work]
    try:
        await asyncio.gather(*running)
    finally:
        for part in running:
            part.cancel()
        await asyncio.gather(*running, return_exceptions=True)
