"""`python -m interlock.cli.supervise FD`: the process that owns Terraform. Started by the front end only."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Leave the process tree of the front end, then drive the run to its end."""
    if os.fork():
        os._exit(0)
    gc.disable()  # until all is imported, see `_load_hands`
    from interlock.compose.supervising import (
        supervise,  # after the fork: the front end waits only for the parent's exit
    )

    status = supervise(int(sys.argv[1]))
    gc.freeze()  # as in `interlock.cli.main`: the next run needs the processor
    sys.exit(status)


if __name__ == "__main__":
    main()
