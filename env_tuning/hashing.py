"""The hash that manifests, identities and lineages know a file by.

Owns: `file_sha256`. Refuses: what the files mean.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's contents in hexadecimal, read piece by piece: weights may be larger than memory."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
