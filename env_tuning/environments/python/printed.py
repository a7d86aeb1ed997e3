"""What a program prints, within a limit.

Owns: `Printed`. Refuses: knowing where it runs.
"""

from __future__ import annotations

import io


class Printed(io.TextIOBase):
    """Standard output and error of a program, in one: the first characters are kept, the others counted."""

    def __init__(self, most: int) -> None:
        """Keep at most so many characters."""
        self._room = most
        self._parts: list[str] = []
        self.dropped = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Keep what there is room for."""
        kept = text[: self._room]
        if kept:
            self._parts.append(kept)
            self._room -= len(kept)
        self.dropped += len(text) - len(kept)
        return len(text)

    def text(self) -> str:
        """What was kept."""
        return "".join(self._parts)
