"""Access tokens that runs were lent, because their provider also asks Genesys Cloud past every gateway; pure.

Such a call bears whatever the provider got when it logged in, and a placeholder is refused there: see
docs/adr/0106-lent-tokens.md. At the gateway a lent token means what a placeholder means, also when the pool has long
had others.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from interlock.gateway.oauth import Secret

_LENT_MAX = 4096


class Lending:
    """The tokens that were lent.

    Args:
        told: Told of each token before a run gets it, so that it can be hidden in what is shown.
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._subjects: OrderedDict[bytes, str] = OrderedDict()
        self._given: OrderedDict[bytes, Secret] = OrderedDict()

    def lend(self, token: str, subject: str) -> str:
        """Note for whom a token is, and return it."""
        self._told(token)
        self._subjects[_digest(token)] = subject
        self._given[_digest(token)] = Secret(token)
        for kept in (self._subjects, self._given):
            if len(kept) > _LENT_MAX:
                kept.popitem(last=False)
        return token

    def take_given(self) -> tuple[Secret, ...]:
        """Return the tokens that are to be ended, and keep them no longer; for whom they were stays known."""
        given = tuple(self._given.values())
        self._given.clear()
        return given

    def read(self, token: str) -> str | None:
        """Return for whom a token was; None for any other."""
        return self._subjects.get(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
