# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A list of system calls that a process may still make, loaded into the Linux kernel; all others fail.

Written for the kernel's interface (seccomp(2), linux/filter.h), because libseccomp is not on every machine.
Read, write and close what is open, manage memory, tell the time, end: nothing else is needed to compute a
reward.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

# audit architecture, and numbers of the allowed calls (asm/unistd_64.h; asm-generic/unistd.h)
_X86_64 = (
    0xC000003E,
    (0, 1, 3, 7, 8, 9, 10, 11, 12, 14, 15, 24, 25, 28, 35, 39, 60, 96, 98, 131, 201, 202, 219, 228, 230,
     231, 318),
)  # fmt: skip
_AARCH64 = (
    0xC00000B7,
    (57, 62, 63, 64, 73, 93, 94, 98, 101, 113, 115, 124, 128, 132, 135, 139, 165, 169, 172, 214, 215, 216,
     222, 226, 233, 278),
)  # fmt: skip
_MACHINES = {'x86_64': _X86_64, 'aarch64': _AARCH64}
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]


def restrict() -> bool:
    """Forbid every other system call to this process, for good; false where the kernel or machine cannot."""
    known = _MACHINES.get(platform.machine())
    if known is None or platform.system() != 'Linux' or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    architecture, allowed = known
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for i, number in enumerate(allowed):  # to the last line, over the tests that are left and the error
        steps.append((_EQUAL, len(allowed) - i, 0, number))
    steps += [(_RETURN, 0, 0, _ERROR | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0
