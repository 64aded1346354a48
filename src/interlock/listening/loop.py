"""The event loop of a server. A hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def run_server(server: Coroutine[Any, Any, None]) -> None:
    """Run a server to its end: on uvloop where it is installed (`interlock[server]`), else on Python's own loop."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(server)
        return
    uvloop.run(server)
