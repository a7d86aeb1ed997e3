"""A seccomp filter: the system calls that no program needs to compute something.

Owns: the list, its numbers on x86-64 and 64-bit ARM, and the filter program. Refuses: everything else about
confinement. What is on the list fails with EPERM: new processes, sockets, signals to others, other processes' memory
and priorities, ownership and modes of files, shared memory and queues that outlive a process, namespaces, mounts,
kernel features with a large attack surface. Numbers: Linux 6.18, asm/unistd_64.h and asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Mapping
from types import MappingProxyType

# x86-64 number, ARM number, None where there is no such call.
_DENIED: Mapping[str, tuple[int | None, int | None]] = MappingProxyType(
    {
        # Processes. clone is allowed for threads, clone3 does not exist (its flags are out of a filter's sight).
        "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "setsid": (112, 157),
        "setpgid": (109, 154), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
        "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
        "pidfd_send_signal": (424, 424), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
        "setpriority": (141, 140), "sched_setscheduler": (144, 119),
        "sched_setparam": (142, 118), "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
        "ioprio_set": (251, 30), "personality": (135, 92),
        # Network.
        "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
        "accept": (43, 202), "accept4": (288, 242),
        # Files: what Landlock leaves open.
        "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
        "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
        "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
        "setxattrat": (463, 463), "removexattrat": (466, 466), "utime": (132, None), "utimes": (235, None),
        "futimesat": (261, None), "utimensat": (280, 88), "memfd_create": (319, 279), "memfd_secret": (447, 447),
        "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "name_to_handle_at": (303, 264),
        "open_by_handle_at": (304, 265), "quotactl": (179, 60), "chroot": (161, 51), "mount": (165, 40),
        "umount2": (166, 39), "pivot_root": (155, 41), "move_mount": (429, 429), "open_tree": (428, 428),
        "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
        "mount_setattr": (442, 442), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
        # Shared memory and queues.
        "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197), "msgget": (68, 186),
        "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193),
        "semctl": (66, 191), "semtimedop": (220, 192), "mq_open": (240, 180), "mq_unlink": (241, 181),
        # The kernel.
        "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "perf_event_open": (298, 241),
        "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
        "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
        "syslog": (103, 116), "reboot": (169, 142), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
        "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "iopl": (172, None),
        "ioperm": (173, None), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
        "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
        "lookup_dcookie": (212, 18),
    }
)  # fmt: skip

# Decided by their first argument.
_BY_ARGUMENT: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "clone": (56, 220),
        "clone3": (435, 435),
        "prctl": (157, 167),
        "prlimit64": (302, 261),
        "kill": (62, 129),
        "tkill": (200, 130),
        "tgkill": (234, 131),
    }
)

_ARCHITECTURES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
)
"""Machine to its column above and the kernel's name of it (AUDIT_ARCH_*)."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS = 0x00050000 | 1, 0x00050000 | 38
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x00010000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 1, 38, 22, 2


def filter_program(own_pid: int, machine: str | None = None) -> bytes | None:
    """The filter for a process, as struct sock_filter records; None for a machine without a table.

    Args:
        own_pid: the only process that may be sent a signal.
        machine: as `platform.machine` says; this one by default.
    """
    found = _ARCHITECTURES.get(machine or platform.machine())
    if found is None:
        return None
    column, architecture = found
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _EPERM),
    ]
    for numbers in _DENIED.values():
        if (number := numbers[column]) is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    number_of = {name: numbers[column] for name, numbers in _BY_ARGUMENT.items()}
    # Without clone3 the C library falls back to clone, whose flags can be seen.
    program += [(_EQUAL, 0, 1, number_of["clone3"]), (_RETURN, 0, 0, _ENOSYS)]
    program += _first_argument(number_of["clone"], _ANY_BIT, _CLONE_THREAD, allowed=True)
    program += _first_argument(number_of["prctl"], _EQUAL, _PR_SET_PDEATHSIG, allowed=False)
    program += _first_argument(number_of["prlimit64"], _EQUAL, 0, allowed=True)
    for name in ("kill", "tgkill"):
        program += _first_argument(number_of[name], _EQUAL, own_pid, allowed=True)
    program += [(_EQUAL, 0, 1, number_of["tkill"]), (_RETURN, 0, 0, _EPERM)]
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _first_argument(number: int, test: int, value: int, *, allowed: bool) -> list[tuple[int, int, int, int]]:
    """Decide one call by its first argument: allowed exactly if the test holds, or exactly if it does not."""
    yes, no = (_ALLOW, _EPERM) if allowed else (_EPERM, _ALLOW)
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (test, 0, 1, value),
        (_RETURN, 0, 0, yes),
        (_RETURN, 0, 0, no),
    ]


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def no_new_privileges(libc: ctypes.CDLL) -> bool:
    """Give up, for this thread and all it starts, whatever an executable could add; needed by both filters."""
    return bool(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def install(libc: ctypes.CDLL, program: bytes) -> bool:
    """Bind this thread and all it starts to a filter, for good; False if the system does not take it."""
    records = ctypes.create_string_buffer(program, len(program))
    header = _FilterProgram(len(program) // 8, ctypes.cast(records, ctypes.c_void_p))
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(header), 0, 0) == 0)
