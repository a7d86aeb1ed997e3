"""What a process gives up before it runs a program of a model.

Owns: the order of the steps, the choice of files a program may read, and the record of what the system enforces.
Refuses: killing (`nursery.py`), the limits' sizes (`bounds.py`). Two halves: `separate`, once for all interpreters, and
`confine`, in each of them. What cannot be given up on a system is left and said in `Enforced`, never silently.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from env_tuning.environments.python import landlock, syscalls
from env_tuning.environments.python.bounds import Bounds

_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWPID, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x20000000, 0x08000000
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_CAPBSET_DROP, _PR_SET_DUMPABLE = 1, 36, 24, 4
_CAPABILITY_VERSION_3 = 0x20080522
_FIRST_USER, _USERS = 60_000, 5_500
"""Users that interpreters run as where root starts the sandbox: one each, so that the system counts each alone."""

_FIRST_SPARE_DESCRIPTOR = 10
"""Lower ones are an interpreter's own."""

_MIB = 2**20
_SYSTEM_FILES = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache",
    "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Enforced:
    """What the system lets us enforce beyond memory, CPU time, wall time, output and file size, which always are.

    Attributes:
        no_processes: no program can start a process.
        no_network: no socket can be made, or there is no network to reach.
        files: only Python's own files can be read, none written outside a scratch folder.
        own_processes: interpreters live in a process namespace that ends with the sandbox.
        own_user: each interpreter runs as a user of its own.
    """

    no_processes: bool
    no_network: bool
    files: bool
    own_processes: bool
    own_user: bool


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What `separate` prepared for all interpreters."""

    libc: ctypes.CDLL
    rules: int | None
    as_root: bool
    separate_users: bool
    own_network: bool
    own_processes: bool


def load_libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


def die_with_parent(libc: ctypes.CDLL) -> None:
    """Be killed when the thread that started this process ends. Changing the user would undo it."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def separate(libc: ctypes.CDLL) -> tuple[bool, bool]:
    """Leave the network, and take a process namespace for what is forked from now on, where that is permitted.

    Returns:
        whether there is no network now, and whether there is such a namespace.
    """
    as_root = os.geteuid() == 0
    user = 0 if as_root else _CLONE_NEWUSER
    if libc.unshare(user | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWPID) == 0:
        return True, True
    if libc.unshare(user | _CLONE_NEWNET | _CLONE_NEWIPC) == 0:
        return True, False
    return False, False


def prepare(libc: ctypes.CDLL, *, own_network: bool, own_processes: bool) -> Ground:
    """What all interpreters share, made once. Orphans of programs become children of this process."""
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    as_root = os.geteuid() == 0
    rules = landlock.rule_set(libc, readable_files())
    return Ground(
        libc=libc,
        rules=None if rules is None else fcntl.fcntl(rules, fcntl.F_DUPFD_CLOEXEC, _FIRST_SPARE_DESCRIPTOR),
        as_root=as_root,
        separate_users=as_root and _readable_by_all(sys.path),
        own_network=own_network,
        own_processes=own_processes,
    )


def enforced(ground: Ground) -> Enforced:
    """What will hold for interpreters; found out by trying, in a process that ends at once.

    Raises:
        OSError: too little would hold to run anything.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, bytes([_filter(ground.libc)]))
        finally:
            os._exit(0)
    os.close(writing)
    filtered = os.read(reading, 1) == b"\x01"
    os.close(reading)
    os.waitpid(child, 0)
    if not filtered and ground.as_root and not ground.separate_users:
        raise OSError(
            "the system has no seccomp filters, and as root with a Python that only root can read, "
            "processes of programs cannot be limited: run as another user"
        )
    return Enforced(
        no_processes=filtered,
        no_network=filtered or ground.own_network,
        files=ground.rules is not None,
        own_processes=ground.own_processes,
        own_user=ground.separate_users,
    )


def readable_files() -> list[Path]:
    """What Python and its packages need to be imported: no home, no temporary files, no /proc."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.__file__)}
    # A prefix as wide as / or /usr/.. would open everything.
    chosen = {prefix for prefix in prefixes if len(Path(prefix).parts) > 1}
    packages = {
        path for path in sys.path if path.rstrip("/").endswith(("site-packages", "dist-packages", "lib-dynload"))
    }
    return [Path(path) for path in sorted(chosen | packages | set(_SYSTEM_FILES))]


def confine(ground: Ground, bounds: Bounds, *, slot: int, scratch: Path | None, kept: bool) -> None:
    """Give up everything that a program does not need. The calling process runs programs afterwards, nothing else.

    Args:
        ground: from `prepare`, of the process that forked this one.
        bounds: the limits.
        slot: a number that no other live interpreter has.
        scratch: the folder it may write to, if any.
        kept: whether several programs will run in it, which share the hard limit of CPU time.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # before the trainer, if memory runs out
    _limit(bounds, kept=kept)
    # Its own user, or its own count of the user's processes; otherwise the count would be everybody's.
    if ground.separate_users:
        _become(_FIRST_USER + slot % _USERS)
        alone = slot < _USERS
    else:
        alone = not ground.as_root and ground.libc.unshare(_CLONE_NEWUSER) == 0
    if alone:
        resource.setrlimit(resource.RLIMIT_NPROC, (bounds.threads, bounds.threads))
    _drop_capabilities(ground.libc)
    ground.libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    die_with_parent(ground.libc)
    syscalls.no_new_privileges(ground.libc)
    rules = ground.rules if scratch is None else landlock.rule_set(ground.libc, readable_files(), [scratch])
    if ground.rules is not None and (rules is None or not landlock.restrict(ground.libc, rules)):
        raise OSError(ctypes.get_errno(), "the Landlock rules were refused")
    _filter(ground.libc)


def _filter(libc: ctypes.CDLL) -> bool:
    program = syscalls.filter_program(os.getpid())
    return program is not None and syscalls.no_new_privileges(libc) and syscalls.install(libc, program)


def _limit(bounds: Bounds, *, kept: bool) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory = used + bounds.memory_mib * _MIB
    # Above the soft limit, which starts from whole seconds: SIGXCPU ends a program, SIGKILL one that ignores it.
    cpu_hard = resource.RLIM_INFINITY if kept else bounds.cpu_seconds + 2
    for kind, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, bounds.cpu_seconds, cpu_hard),
        (resource.RLIMIT_FSIZE, bounds.file_mib * _MIB, bounds.file_mib * _MIB),
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        most = lower_limit(hard, resource.getrlimit(kind)[1])
        resource.setrlimit(kind, (lower_limit(soft, most), most))


def lower_limit(one: int, other: int) -> int:
    """The stricter of two limits as `resource` writes them."""
    return min((one, other), key=lambda limit: float("inf") if limit == resource.RLIM_INFINITY else limit)


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Keep no power of root, whether this process runs as root, or as root of a user namespace."""
    for capability in range(64):
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))


def _readable_by_all(paths: Sequence[str]) -> bool:
    """Whether a user without rights could import from all folders of a search path."""
    return all(_open_to_all(Path(path)) for path in paths if os.path.exists(path))


def _open_to_all(path: Path) -> bool:
    folders: Iterable[Path] = (path, *path.parents)
    return all(folder.stat().st_mode & 0o005 == 0o005 or not folder.is_dir() for folder in folders)
