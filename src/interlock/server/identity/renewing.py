"""Lets the token of a CI job last for as long as its job holds its state, or waits for it. A hand.

A Terraform has its token in its environment, where nobody can change it, and an apply lasts longer than a token should.
So the same token lasts on while its job is a party of its state's lock. Once it is none nobody renews it, and it
ends within a quarter of an hour.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from interlock.clock import Clock
from interlock.coordinator import Coordinator
from interlock.errors import InterlockError
from interlock.rights import Token
from interlock.rights.callers import Caller, Tokens
from interlock.server.api.judging import is_of
from interlock.server.identity.exchange import Exchange

EARLY = timedelta(minutes=10)
"""How long before its end a token is renewed: a heartbeat comes far more often than the five minutes until then."""


class RenewedTokens:
    """See `Tokens`.

    Args:
        tokens: Who may ask.
        exchange: Renews.
        coordinator: Knows who holds and waits.
        clock: The store's.
    """

    def __init__(self, tokens: Tokens, exchange: Exchange, coordinator: Coordinator, clock: Clock) -> None:
        self._tokens = tokens
        self._exchange = exchange
        self._coordinator = coordinator
        self._clock = clock

    async def identify(self, username: str, password: str) -> Caller:
        """See `Tokens.identify`."""
        caller = await self._tokens.identify(username, password)
        if not isinstance(caller, Token) or caller.bound is None or caller.expires_at is None:
            return caller
        if caller.expires_at - self._clock.now() < EARLY and caller.expires_at < caller.bound.until:
            with suppress(InterlockError):  # it is still good, and the next request asks again
                if await self._is_party(caller):
                    return await self._exchange.renew(caller)
        return caller

    async def _is_party(self, token: Token) -> bool:
        lock = (await self._coordinator.view(token.states)).lock
        return any(is_of(party.who, token) for party in (*lock.holders, *lock.waiters))
