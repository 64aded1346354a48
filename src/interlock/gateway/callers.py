"""Who may use the gateway: runs by their prefix, other clients by a placeholder for the gateway's own credentials.

Knows nothing of HTTP. A run that was removed is remembered for a while, so that a late call of it is told why.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from interlock.gateway.oauth import Credentials, are_same
from interlock.gateway.route import RunCaller
from interlock.lock import Priority

RUNS_MAX = 4096
"""Most runs at once."""
CLIENTS_MAX = 256
"""Most client names at once; further names share one flow."""
_GONE_MAX = 4096

IsCurrent: TypeAlias = Callable[[str], bool | Awaitable[bool]]
"""Says whether a run still holds its lock. Asked before every call is sent; the answer must be fresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that may call.

    Attributes:
        run: Its id.
        priority: Its class.
        digest: SHA-256 of its token.
        is_current: Asked before every call.
        logins: Credentials of which one must be shown when it logs in; None accepts any. The prefix alone does not
            prove that a provider was configured for the organisation behind this gateway.
        is_learned: The credentials that it shows are the gateway's from then on.
        state: The state that it holds.
    """

    run: str
    priority: Priority
    digest: bytes
    is_current: IsCurrent
    logins: tuple[Credentials, ...] | None = field(default=None, repr=False)
    is_learned: bool = False
    state: str = ""

    def may_log_in(self, shown: Credentials | None) -> bool:
        """Say whether these credentials are the run's."""
        if self.is_learned:
            return shown is not None
        if self.logins is None:
            return True
        return shown is not None and any(are_same(shown, each) for each in self.logins)


class Callers:
    """The runs of this gateway, and the names of its other clients."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self._gone: OrderedDict[str, bytes] = OrderedDict()
        self._names: set[str] = set()

    def add(self, run: Run) -> None:
        """Let a run call; one of the same id is replaced."""
        self._gone.pop(run.run, None)
        self.runs[run.run] = run

    def remove(self, run_id: str) -> None:
        """The run is over."""
        run = self.runs.pop(run_id, None)
        if run is not None:
            self._gone[run_id] = run.digest
            if len(self._gone) > _GONE_MAX:
                self._gone.popitem(last=False)

    def find(self, caller: RunCaller) -> Run | None:
        """Return the run if the token is its own."""
        run = self.runs.get(caller.run)
        return run if run is not None and _proves(caller.token, run.digest) else None

    def is_gone(self, caller: RunCaller) -> bool:
        """Say whether this was a run, told by its own token."""
        digest = self._gone.get(caller.run)
        return digest is not None and _proves(caller.token, digest)

    def flow_of(self, name: str) -> str:
        """Return the flow of a client's name; names beyond `CLIENTS_MAX` share one."""
        if name not in self._names:
            if len(self._names) >= CLIENTS_MAX:
                return "c/(others)"
            self._names.add(name)
        return f"c/{name}"


def digest_of(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def _proves(token: str, digest: bytes) -> bool:
    return hmac.compare_digest(digest_of(token), digest)
