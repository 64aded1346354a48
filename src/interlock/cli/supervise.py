"""`python -m interlock.cli.supervise FD`: the process that owns Terraform. Started by the front end only."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Leave the process tree of the front end, then drive the run to its end."""
    if os.fork():
        os._exit(0)
    from interlock.compose.supervising import (
        supervise,  # after the fork: the front end waits only for the parent's exit
    )

    sys.exit(supervise(int(sys.argv[1])))


if __name__ == "__main__":
    main()
