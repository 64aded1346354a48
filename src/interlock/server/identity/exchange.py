"""Takes the identity token of a CI job and gives a token of ours for it. A hand.

Nothing is asked of anybody before the token names an issuer of a trust rule, nothing of it is believed before its
signature is checked, and nothing is written before a rule grants it. It is taken once: whoever copies it comes late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct

from interlock.audit.log import AuditLog
from interlock.clock import Clock
from interlock.coordinator import check_state_name
from interlock.errors import THIS_STATE, BackendUnavailable, InterlockError, UsageError, command
from interlock.ids import Ids
from interlock.rights import Binding, Role, Token
from interlock.rights.book import TokenBook
from interlock.rights.token import Forbidden
from interlock.server.identity.claims import Claims, read_claims
from interlock.server.identity.deciding import Asked, Because, Granted, Refusal, decide, is_run
from interlock.server.identity.issuer_keys import IssuerKeys
from interlock.server.identity.records import SeenTokens, TrustBook
from interlock.server.identity.rules import TrustRule
from interlock.server.identity.signature import Shown, not_genuine, read_shown, verified

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
TOKEN_TYPES = frozenset({"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"})
RENEWED_S_MAX = 6 * 3_600.0
"""A job's token is renewed for at most so long: what a hosted job may last."""
_ATTEMPTS = 2


class Issued(Struct, frozen=True, kw_only=True):
    """A token for a job.

    Attributes:
        token: What is kept of it.
        text: The whole of it, told this once.
        lasts_s: How long it is good without being renewed.
    """

    token: Token
    text: str
    lasts_s: float

    def __repr__(self) -> str:
        """Show it without the text."""
        return f"Issued({self.token.id})"


class Exchange:
    """Exchanges and renews tokens.

    Args:
        trust: The rules.
        tokens: Where tokens are made.
        seen: Identity tokens that were taken.
        keys: The keys of issuers.
        audit: Told of each grant, and of refusals to projects that a rule is for.
        clock: The store's.
        ids: For attempts.
        audiences: Our own addresses, as jobs name them when they ask for an identity token; asked with each exchange.
    """

    def __init__(  # noqa: PLR0913 - what an exchange rests on
        self,
        trust: TrustBook,
        tokens: TokenBook,
        seen: SeenTokens,
        keys: IssuerKeys,
        audit: AuditLog,
        *,
        clock: Clock,
        ids: Ids,
        audiences: Sequence[str],
    ) -> None:
        self._trust = trust
        self._tokens = tokens
        self._seen = seen
        self._keys = keys
        self._audit = audit
        self._clock = clock
        self._ids = ids
        self._audiences = audiences  # not copied: it is filled once the server has its port

    async def exchange(self, form: Mapping[str, str]) -> Issued:
        """Return a token of ours for the one in a form (RFC 8693).

        Raises:
            UsageError: The form is not one.
            NotGenuine: The token is not what it says, or was taken before.
            Forbidden: No rule gives what is asked for.
            BackendUnavailable: The issuer's keys or the store cannot be had.
        """
        asked = read_form(form)
        try:
            return await self._exchange(form.get("subject_token", ""), asked)
        except InterlockError as error:
            raise error.naming(asked.state) from None

    async def _exchange(self, text: str, asked: Asked) -> Issued:
        shown = read_shown(text)
        rules = [rule for rule in (await self._trust.all()).rules if rule.issuer.url == shown.issuer]
        if not rules:
            raise not_genuine("no trust rule names its issuer")
        claims = await self._believed(shown, rules)
        decided = decide(claims, rules, asked)
        if isinstance(decided, Refusal):
            raise await self._refused(decided, asked, shown)
        await self._take(claims)
        return await self._issued(decided)

    async def renew(self, token: Token) -> Token:
        """Let the token of a job last on, as long as its rule is there.

        Raises:
            AuthenticationFailed: It is not one, or has ended for good.
        """
        rules = {rule.name: rule for rule in (await self._trust.all()).rules}
        rule = rules.get(token.bound.rule) if token.bound is not None else None
        if token.bound is not None and rule is None:
            raise Forbidden(
                f"token {token.id} is not renewed",
                why=f"the trust rule {token.bound.rule} that gave it was removed",
                fix=command("trust", "ls"),
            )
        return await self._tokens.renew(token, lifetime=_LIFETIME)

    async def _believed(self, shown: Shown, rules: Sequence[TrustRule]) -> Claims:
        rule = rules[0]  # all rules of an issuer have the same keys, algorithms and audience: `TrustBook.add`
        key = await self._keys.find(rule.issuer, shown.key_id)
        if key is None:
            raise not_genuine("its issuer has no key of that name")
        said = verified(shown, key, rule.issuer.algorithms)
        now_s = self._clock.now().timestamp()
        claims = read_claims(said, shown.signed, rule.platform, rule.issuer, audiences=self._audiences, now_s=now_s)
        if isinstance(claims, str):
            raise not_genuine(claims)
        return claims

    async def _take(self, claims: Claims) -> None:
        attempt = self._ids.fresh()
        for left in reversed(range(_ATTEMPTS)):
            try:
                if await self._seen.take(claims.digest, ends_s=claims.ends_s, by=attempt):
                    return
                raise not_genuine("it was exchanged before; each is taken once")
            except BackendUnavailable:
                if not left:
                    raise

    async def _issued(self, granted: Granted) -> Issued:
        now = self._clock.now()
        until = now + timedelta(seconds=max(RENEWED_S_MAX, granted.lasts_s))
        binding = Binding(rule=granted.rule, job=granted.job, until=until, run=granted.run, account=granted.account)
        token, text = await self._tokens.issue(
            granted.role,
            state=granted.state,
            binding=binding,
            by=f"trust rule {granted.rule}",
            lifetime=timedelta(seconds=granted.lasts_s),
            accounts=granted.accounts,
            before=partial(self._announce, granted),
        )
        await self._tidy(now)
        return Issued(token=token, text=text.whole(), lasts_s=granted.lasts_s)

    async def _tidy(self, now: datetime) -> None:
        """Forget what has ended. What cannot be, as a damaged record, takes nobody the token that was made."""
        with suppress(BackendUnavailable):
            await self._seen.forget(now.timestamp())
        with suppress(BackendUnavailable):
            await self._tokens.forget_ended()

    async def _announce(self, granted: Granted, token: Token, _version: int) -> None:
        facts = {"rule": granted.rule, "role": granted.role.value, "token": token.id, "run": granted.run}
        await self._audit.append(
            "token-exchanged", subject=granted.state, by=granted.job, facts={**facts, **granted.facts}
        )

    async def _refused(self, refusal: Refusal, asked: Asked, shown: Shown) -> Forbidden:
        """Keep that a known project was refused. Not a stranger: everybody can have a token of a public CI service."""
        if refusal.because is not Because.NO_RULE:
            facts = {"why": refusal.why, "issuer": shown.issuer, "because": refusal.because.value}
            await self._audit.append("exchange-refused", subject=asked.state or "**", by="nobody", facts=facts)
        return Forbidden(
            f"no token is given for {asked.state or 'the server'}",
            why=refusal.why,
            fix=f"{command('trust', 'ls')}    on the server",
        )


_LIFETIME = timedelta(seconds=900)


def read_form(form: Mapping[str, str]) -> Asked:
    """Return what a form asks for.

    Raises:
        UsageError: It is not a token exchange, or names no state.
    """
    if form.get("grant_type") != GRANT_TYPE:
        raise _unusable(f"grant_type is not {GRANT_TYPE}")
    if form.get("subject_token_type") not in TOKEN_TYPES:
        raise _unusable(f"subject_token_type is none of {', '.join(sorted(TOKEN_TYPES))}")
    state, run = form.get("state", ""), form.get("run", "")
    if run and not is_run(run):
        raise _unusable("its run is not the id of a run")
    return Asked(state=check_state_name(state) if state else "", run=run, role=_role(form.get("scope", "")))


def _role(text: str) -> Role | None:
    try:
        return Role(text) if text else None
    except ValueError:
        raise _unusable(f"its scope is none of {', '.join(role.value for role in Role)}") from None


def _unusable(why: str) -> UsageError:
    return UsageError(
        "the token exchange is not usable", why=why, fix=f"{command('ci', 'login', '--state', THIS_STATE)}    sends it"
    )
