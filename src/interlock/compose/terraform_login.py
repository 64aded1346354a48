"""`terraform login` at a provider of identities: the server's part of it. A hand.

What `interlock login --browser` does on the person's machine the server does here, since Terraform knows no provider:
it sends the browser there, takes the code, and exchanges the identity token at itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from interlock.compose.browser_login import address_of, identity_for, page_of
from interlock.compose.provider import Provider, provider_at
from interlock.errors import UsageError
from interlock.ids import Ids
from interlock.server.identity.exchange import GRANT_TYPE, Exchange
from interlock.server.identity.platforms import Platform
from interlock.server.identity.records import TrustBook
from interlock.server.tfe.login import Begun, Challenge

_SCOPE: Final = "openid profile"
_AGAIN: Final = "terraform login HOST, or tofu login HOST,    begins anew"
_OTHERWISE: Final = "paste a token of this server into the page instead"


class TrustedProviders:
    """See `interlock.server.tfe.logins.Providers`: those that trust rules for people name.

    Args:
        trust: The rules.
        exchange: Gives people tokens.
        ids: For what nobody may guess.
    """

    def __init__(self, trust: TrustBook, exchange: Exchange, ids: Ids) -> None:
        self._trust = trust
        self._exchange = exchange
        self._ids = ids

    async def issuers(self) -> Sequence[str]:
        """See `Providers.issuers`."""
        return sorted(await self._clients())

    async def begin(self, issuer: str, back: str) -> tuple[str, Challenge]:
        """See `Providers.begin`."""
        provider = await self._provider(issuer)
        challenge = Challenge(state=self._ids.secret(), nonce=self._ids.secret(), verifier=self._ids.secret())
        asked = {"client_id": provider.client_id, "redirect_uri": back, "scope": _SCOPE}
        return address_of(page_of(provider, _OTHERWISE), asked, challenge), challenge

    async def end(self, begun: Begun, back: str, code: str) -> str:
        """See `Providers.end`."""
        provider = await self._provider(begun.issuer)
        form = {"client_id": provider.client_id, "redirect_uri": back, "code": code}
        identity = await identity_for(provider, form, begun.challenge)
        kind = "urn:ietf:params:oauth:token-type:id_token"
        form = {"grant_type": GRANT_TYPE, "subject_token_type": kind, "subject_token": identity}
        return (await self._exchange.exchange(form)).text

    async def _provider(self, issuer: str) -> Provider:
        client_id = (await self._clients()).get(issuer)
        if client_id is None:
            raise UsageError("nobody logs in there", why="no trust rule of this server names that provider")
        return await provider_at(issuer, client_id, again=_AGAIN, otherwise=_OTHERWISE)

    async def _clients(self) -> dict[str, str]:
        rules = (await self._trust.all()).rules
        return {rule.issuer.url: rule.issuer.audience for rule in rules if rule.platform is Platform.PERSON}
