"""Landlock: the files that a program can open.

Owns: making and applying a rule set. Refuses: choosing the files (`confinement.py`). What no rule allows cannot be
opened, listed, made, renamed or removed. Reference: Linux 6.18, linux/landlock.h; older kernels know less, none of them
less than files.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
READ = _READ_FILE | _READ_DIR
_KEPT_FILE, _KEPT_DIR = (1 << 7) | (1 << 8) | (1 << 4) | (1 << 5), (1 << 7) | (1 << 8)
# Rights by the version that knew them first: 1 all up to make-symlink, 2 refer, 3 truncate, 5 device control.
_RIGHTS = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_TRUNCATE = 1 << 14
_TCP = 0b11
_SCOPES = 0b11


def version(libc: ctypes.CDLL) -> int:
    """What the kernel knows; 0: no Landlock."""
    return max(0, int(libc.syscall(_CREATE, None, 0, 1)))


def rule_set(libc: ctypes.CDLL, readable: Iterable[Path], writable: Iterable[Path] = ()) -> int | None:
    """A file descriptor of a rule set; None without Landlock.

    Args:
        libc: the C library.
        readable: files, and folders with all below them, that may be read. What does not exist is left out.
        writable: folders in which files and folders may also be made, written and removed.
    """
    known = version(libc)
    if not known:
        return None
    handled = sum(rights for since, rights in _RIGHTS if since <= known)
    attributes = struct.pack("=QQQ", handled, _TCP, _SCOPES)[: 24 if known >= 6 else 16 if known >= 4 else 8]
    rules = int(libc.syscall(_CREATE, attributes, len(attributes), 0))
    if rules < 0:
        return None
    for path in readable:
        _allow(libc, rules, path, READ & handled)
    for path in writable:
        _allow(libc, rules, path, (READ | _WRITE_FILE | _KEPT_FILE | _KEPT_DIR | _TRUNCATE) & handled)
    return rules


def restrict(libc: ctypes.CDLL, rules: int) -> bool:
    """Bind this thread and all it starts to a rule set, for good. It must have given up new privileges before."""
    return bool(libc.syscall(_RESTRICT, rules, 0) == 0)


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not path.is_dir():
        rights &= ~_READ_DIR
    libc.syscall(_ADD, rules, 1, struct.pack("=Qi", rights, folder), 0)
    os.close(folder)
