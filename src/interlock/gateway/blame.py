"""Whose limit an unexplained refusal was: the API names none.

A refusal of one endpoint is that endpoint's, as long as the others pass: they are the experiment. Refusals of several
endpoints within a moment are of one token when only that one was refused and others were in use, else of the
organisation, and what was held against the single endpoints is taken back. Once it was the organisation's, a single
refusal is held against it too for a while, except at an endpoint that was refused alone before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

TOGETHER_S = 2.0
"""Refusals of several endpoints within this time have one reason."""
REMEMBERED_S = 600.0
"""How long it is remembered who was to blame."""
_ENDPOINTS_MAX = 1024


class Whose(Enum):
    """Whose limit it was."""

    ENDPOINT = "endpoint"
    TOKEN = "token"  # noqa: S105 - a scope, not a secret
    ORGANISATION = "organisation"


@dataclass(slots=True)
class Blame:
    """Remembers refusals.

    Attributes:
        pardoned: Endpoints that the last answer took back what was held against them.
    """

    pardoned: tuple[str, ...] = ()
    _lately: list[tuple[float, str, int]] = field(default_factory=list)
    _alone: dict[str, float] = field(default_factory=dict)
    _organisation_s: float = float("-inf")

    def whose(self, endpoint: str, slot: int, now_s: float, *, slots: int) -> Whose:
        """Say whose limit a refusal was.

        Args:
            endpoint: That was called.
            slot: Of the token that was used.
            now_s: Now.
            slots: How many tokens are in use.
        """
        self.pardoned = ()
        self._lately = [each for each in self._lately if now_s - each[0] < TOGETHER_S]
        self._lately.append((now_s, endpoint, slot))
        endpoints = {name for _, name, _ in self._lately}
        if len(endpoints) > 1:
            return self._wide(endpoints, now_s, slots=slots)
        known_alone = now_s - self._alone.get(endpoint, float("-inf")) < REMEMBERED_S
        if now_s - self._organisation_s < REMEMBERED_S and not known_alone:
            self._organisation_s = now_s
            return Whose.ORGANISATION
        if len(self._alone) >= _ENDPOINTS_MAX:
            self._alone.clear()
        self._alone[endpoint] = now_s
        return Whose.ENDPOINT

    def _wide(self, endpoints: set[str], now_s: float, *, slots: int) -> Whose:
        self.pardoned = tuple(name for name in endpoints if now_s - self._alone.pop(name, float("-inf")) < TOGETHER_S)
        if slots > 1 and len({slot for _, _, slot in self._lately}) == 1 and len(self._lately) > slots // 2:
            return Whose.TOKEN
        self._organisation_s = now_s
        return Whose.ORGANISATION
