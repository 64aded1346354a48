"""The seccomp filter that keeps a program from taking SIGTERM and SIGHUP back: classic BPF, built by hand. Pure.

A signal that is ignored when a program starts stays ignored in it and in what it starts, unless one of them asks for
it. Go programs ask: Terraform for SIGTERM, the Genesys Cloud provider too. The filter answers such a request,
`rt_sigaction(SIGTERM, …)`, with success and without doing it. Requests that only read, and those for other signals,
SIGINT above all, pass.

The same bytes serve every architecture: the filter looks for the one that a system call is made on, also for 32-bit
programs on a 64-bit kernel, and lets pass what it does not know.
Source: seccomp(2), linux/seccomp.h, linux/filter.h, linux/audit.h, and the system call tables of Linux.
"""

from __future__ import annotations

import signal
import struct
import sys
from typing import Final

from msgspec import Struct

DEAF_TO: Final = (signal.SIGHUP, signal.SIGTERM)

RT_SIGACTION: Final = {
    0xC000003E: 13,  # AUDIT_ARCH_X86_64
    0x40000003: 174,  # AUDIT_ARCH_I386
    0xC00000B7: 134,  # AUDIT_ARCH_AARCH64
    0x40000028: 174,  # AUDIT_ARCH_ARM
}
"""By audit architecture: the number of the system call `rt_sigaction`."""

_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
_PASS, _SAY_DONE = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with error 0, which is success
# struct seccomp_data: number, architecture, instruction pointer (8 bytes), then six arguments of 8 bytes.
_NUMBER, _ARCHITECTURE, _SIGNAL, _ACTION = 0, 4, 16, 24
_HALF_BYTES = 4


class _Step(Struct, frozen=True, kw_only=True):
    """One instruction; jumps go to named places further down, or to the next step."""

    code: int
    value: int
    place: str = ""
    equal: str = ""
    other: str = ""


def filter_program(byte_order: str = sys.byteorder) -> bytes:
    """Return the filter as an array of `struct sock_filter`.

    Args:
        byte_order: `little` or `big`: which half of an argument is the low one.
    """
    steps = _steps(byte_order)
    places = {step.place: number for number, step in enumerate(steps) if step.place}

    def distance(place: str, number: int) -> int:
        return places[place] - number - 1 if place else 0

    return b"".join(
        struct.pack("=HBBI", step.code, distance(step.equal, number), distance(step.other, number), step.value)
        for number, step in enumerate(steps)
    )


def _steps(byte_order: str) -> list[_Step]:
    low, high = (0, _HALF_BYTES) if byte_order == "little" else (_HALF_BYTES, 0)
    numbers = [
        step
        for architecture, number in RT_SIGACTION.items()
        for step in (
            _Step(code=_LOAD, value=_NUMBER, place=f"on {architecture:x}"),
            _Step(code=_JUMP_IF_EQUAL, value=number, equal="sigaction", other="pass"),
        )
    ]
    return [
        _Step(code=_LOAD, value=_ARCHITECTURE),
        *(_Step(code=_JUMP_IF_EQUAL, value=each, equal=f"on {each:x}") for each in RT_SIGACTION),
        _Step(code=_RETURN, value=_PASS),
        *numbers,
        # Without a new action (a null pointer, 0 in both halves) it only asks what is set, and gets the truth.
        _Step(code=_LOAD, value=_ACTION + low, place="sigaction"),
        _Step(code=_JUMP_IF_EQUAL, value=0, other="sets"),
        _Step(code=_LOAD, value=_ACTION + high),
        _Step(code=_JUMP_IF_EQUAL, value=0, equal="pass"),
        _Step(code=_LOAD, value=_SIGNAL + low, place="sets"),
        *(_Step(code=_JUMP_IF_EQUAL, value=number, equal="done") for number in DEAF_TO),
        _Step(code=_RETURN, value=_PASS, place="pass"),
        _Step(code=_RETURN, value=_SAY_DONE, place="done"),
    ]
