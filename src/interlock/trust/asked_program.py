"""A program that prints a secret, such as a key service's or a cluster's login: asked, within bounds. A hand.

What it prints is read only as far as a secret can be long, since a wrong command may print without end; and only until
it ends, since it may have left a child that keeps its output open.
"""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from interlock.clock import SystemClock

BYTES_MAX = 64 * 1024
"""Longest answer; a secret is far shorter."""

_LOOK_S = 0.1  # between looks whether it ended, while it prints nothing


@dataclass(frozen=True, slots=True)
class Printed:
    """What a program answered.

    Attributes:
        code: Its exit status.
        out: What it printed. It may be a secret, so it is in no message.
    """

    code: int
    out: bytes = field(repr=False)


def ask_program(
    words: Sequence[str], *, environ: Mapping[str, str] | None = None, timeout_s: float, bytes_max: int = BYTES_MAX
) -> Printed:
    """Run a program to its end, and return what it printed.

    Args:
        words: The program and its arguments.
        environ: Its environment; None for ours.
        timeout_s: For how long it may run.
        bytes_max: How much it may print.

    Raises:
        OSError: It cannot be run.
        ValueError: It printed more than that, or its name is not one.
        TimeoutError: It ran for longer.
    """
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environ if environ is None else dict(environ),
    ) as child:
        assert child.stdout is not None, "it is a pipe"
        try:
            deadline_s = SystemClock().monotonic() + timeout_s
            out = _read(child, child.stdout.fileno(), deadline_s, bytes_max)
            return Printed(child.wait(max(0.0, deadline_s - SystemClock().monotonic())), out)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            if child.poll() is None:
                child.kill()


def _read(child: subprocess.Popen[bytes], out: int, deadline_s: float, bytes_max: int) -> bytes:
    found = bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(out, selectors.EVENT_READ)
        while SystemClock().monotonic() < deadline_s:
            has_ended = child.poll() is not None
            chunk = os.read(out, 1 << 14) if ready.select(0 if has_ended else _LOOK_S) else None
            if chunk == b"" or (chunk is None and has_ended):
                return bytes(found)
            found += chunk or b""
            if len(found) > bytes_max:
                raise ValueError(f"it printed more than {bytes_max} bytes")
    raise TimeoutError
