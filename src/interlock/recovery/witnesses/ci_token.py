"""To whom a token may be sent. Pure.

The URL of a job comes from a lock, which anybody who may lock can write. A token must not follow it to any server that
it names, so it goes only to the server of our own job (the public service outside CI), and to servers that the
operator names.
"""

from __future__ import annotations

from collections.abc import Mapping

SERVERS = "INTERLOCK_CI_SERVERS"
"""Base URLs, separated by spaces, of CI servers that may be sent the CI tokens of the environment."""


def may_have_token(server: str, own: set[str], environ: Mapping[str, str]) -> bool:
    """Say whether our token may be sent to `server`."""
    named = {entry.rstrip("/") for entry in environ.get(SERVERS, "").split()}
    return server.rstrip("/") in {entry.rstrip("/") for entry in own} | named
