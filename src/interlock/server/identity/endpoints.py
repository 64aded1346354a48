"""Rows of the API about who asks: the exchange of identity tokens, trust rules, tokens. A hand."""

from __future__ import annotations

from urllib.parse import parse_qsl

from msgspec import Struct

from interlock.audit.announcing import announcing
from interlock.audit.log import AuditLog
from interlock.clock import Clock
from interlock.errors import UsageError
from interlock.instants import Instant, span
from interlock.persons import Party, read_accounts
from interlock.rights import Right, Role, Token
from interlock.rights.book import TokenBook
from interlock.rights.callers import party_of
from interlock.rights.roles import EVERY_STATE
from interlock.rights.token import Forbidden, TokenText
from interlock.server.api.table import AnyEndpoint, Call, NoBody, NoQuery, acts, reads
from interlock.server.identity.exchange import Exchange
from interlock.server.identity.platforms import Platform
from interlock.server.identity.records import TrustBook
from interlock.server.identity.rules import Issuer, TrustRule, of_accounts, warnings_of
from interlock.store.before import Before

FORM_BYTES_MAX = 32 * 1024
_FIELDS_MAX = 20
_ISSUED_TYPE = "urn:ietf:params:oauth:token-type:access_token"


class ExchangeForm(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What RFC 8693 sends, in a form.

    Attributes:
        grant_type: Always the URN of a token exchange.
        subject_token_type: The URN of an identity token or of a JWT.
        subject_token: The identity token.
        state: The state that the job works on; empty for all that a person may reach.
        run: The one run that the token is for; empty for any of the state.
        scope: The role that is wanted; empty for what the trust rules give.
    """

    grant_type: str
    subject_token_type: str
    subject_token: str
    state: str = ""
    run: str = ""
    scope: str = ""


class Exchanged(Struct, frozen=True, kw_only=True):
    """What RFC 8693 answers, and what the token hangs on.

    Attributes:
        access_token: The token. It is told this once.
        issued_token_type: Always the URN of an access token.
        token_type: Always `Bearer`.
        expires_in: Seconds for which it is good unless it is renewed.
        scope: Its role.
        token_id: By which it is found in the list of tokens.
        state: The one state that it is for.
        run: The one run; empty for any of the state.
        renewable_until: It is not renewed beyond this.
    """

    access_token: str
    issued_token_type: str
    token_type: str
    expires_in: int
    scope: str
    token_id: str
    state: str
    run: str
    renewable_until: Instant


class Provider(Struct, frozen=True, kw_only=True):
    """Where people log in.

    Attributes:
        issuer: Its address; its discovery document tells the rest.
        client_id: As which client.
    """

    issuer: str
    client_id: str


class Providers(Struct, frozen=True, kw_only=True):
    """All of them.

    Attributes:
        providers: In the order of their addresses; empty when people use tokens.
    """

    providers: list[Provider]


class Renewed(Struct, frozen=True, kw_only=True):
    """How long a token lasts now.

    Attributes:
        expires_at: When it ends unless it is renewed again.
        renewable_until: It is not renewed beyond this.
    """

    expires_at: Instant
    renewable_until: Instant


class TokenTold(Struct, frozen=True, kw_only=True):
    """A token, without its secret.

    Attributes:
        id: By which it is found.
        role: What it may do.
        states: A glob over the states to which.
        note: Who or what it is for.
        made_by: Who made it.
        made_at: When.
        expires_at: When it ends; null for never.
        revoked_at: When it was revoked.
        used_at: About when it was used last.
        run: The one run that it is for; empty for any.
        rule: The trust rule that gave it; empty for one that a person made.
        person: Accounts of the one person whose it is, or who began its job; empty where nobody knows.
    """

    id: str
    role: Role
    states: str
    note: str
    made_by: str
    made_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None
    used_at: Instant | None
    run: str
    rule: str
    person: list[str] = []


class TokensTold(Struct, frozen=True, kw_only=True):
    """The tokens of the server.

    Attributes:
        tokens: Those that can be read.
        unreadable: Ids of those that cannot; they let nobody in.
    """

    tokens: list[TokenTold]
    unreadable: list[str]


class TokenWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made.

    Attributes:
        role: What it may do.
        states: A glob over the states to which.
        note: Who or what it is for.
        lasts_s: How long it is good, in seconds; null for ever.
        person: A name or accounts of the one person whose it is; empty for a program's.
    """

    role: Role
    states: str = EVERY_STATE
    note: str = ""
    lasts_s: float | None = None
    person: list[str] = []


class TokenMade(Struct, frozen=True, kw_only=True):
    """A new token.

    Attributes:
        token: The whole of it. It is told this once.
        about: What is kept of it.
    """

    token: str
    about: TokenTold


class OfToken(Struct, frozen=True, kw_only=True):
    """Asks about one token.

    Attributes:
        id: As the list has it.
    """

    id: str


class RuleWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trust rule to be added.

    Attributes:
        name: By which people find it.
        platform: Whose tokens.
        issuer: Who signs them.
        claims: What the token must say: one of the values for each claim.
        role: What the job may do.
        states: A glob over the states to which.
        accounts: Further ones of the one person whom it names, such as `github:583231`.
    """

    name: str
    platform: Platform
    issuer: Issuer
    claims: dict[str, list[str]]
    role: Role
    states: str
    accounts: list[str] = []


class RuleTold(Struct, frozen=True, kw_only=True):
    """A trust rule.

    Attributes:
        rule: The rule.
        warnings: What the operator should know about it.
    """

    rule: TrustRule
    warnings: list[str]


class RulesTold(Struct, frozen=True, kw_only=True):
    """The trust rules of the server.

    Attributes:
        rules: Those that can be read.
        unreadable: Names of those that cannot; they let nobody in.
    """

    rules: list[RuleTold]
    unreadable: list[str]


class OfRule(Struct, frozen=True, kw_only=True):
    """Asks about one trust rule.

    Attributes:
        name: As the list has it.
    """

    name: str


class IdentityApi:
    """Does what the rows say.

    Args:
        exchange: Exchanges tokens.
        trust: Keeps rules.
        tokens: Keeps tokens.
        audit: Is told of what is changed.
        clock: The store's.
    """

    def __init__(
        self, exchange: Exchange, trust: TrustBook, tokens: TokenBook, audit: AuditLog, *, clock: Clock
    ) -> None:
        self._exchange = exchange
        self._trust = trust
        self._tokens = tokens
        self._audit = audit
        self._clock = clock

    async def exchange(self, call: Call[NoQuery, bytes]) -> Exchanged:
        """Exchange the identity token of a CI job for a token of one state (RFC 8693, a form)."""
        issued = await self._exchange.exchange(read_form_body(call.body))
        bound = issued.token.bound
        assert bound is not None
        return Exchanged(
            access_token=issued.text,
            issued_token_type=_ISSUED_TYPE,
            token_type="Bearer",  # noqa: S106 - a kind of token
            expires_in=int(issued.lasts_s),
            scope=issued.token.role.value,
            token_id=issued.token.id,
            state=issued.token.states,
            run=bound.run,
            renewable_until=bound.until,
        )

    async def providers(self, _call: Call[NoQuery, NoBody]) -> Providers:
        """Where people log in."""
        rules = (await self._trust.all()).rules
        found = {(rule.issuer.url, rule.issuer.audience) for rule in rules if rule.platform is Platform.PERSON}
        return Providers(providers=[Provider(issuer=issuer, client_id=client) for issuer, client in sorted(found)])

    async def renew(self, call: Call[NoQuery, NoBody]) -> Renewed:
        """Let the token of a CI job last on."""
        if not isinstance(call.caller, Token) or call.caller.bound is None:
            raise Forbidden(f"{call.caller.who} is not renewed", why="only tokens of CI jobs are")
        after = await self._exchange.renew(call.caller)
        assert after.bound is not None
        assert after.expires_at is not None
        return Renewed(expires_at=after.expires_at, renewable_until=after.bound.until)

    async def rules(self, _call: Call[NoQuery, NoBody]) -> RulesTold:
        """List trust rules."""
        found = await self._trust.all()
        return RulesTold(rules=[self._told(rule) for rule in found.rules], unreadable=list(found.unreadable))

    async def add_rule(self, call: Call[NoQuery, RuleWanted]) -> RuleTold:
        """Add a trust rule: which CI jobs get tokens."""
        wanted = call.body
        rule = TrustRule(
            name=wanted.name,
            platform=wanted.platform,
            issuer=wanted.issuer,
            claims={name: tuple(values) for name, values in wanted.claims.items()},
            role=wanted.role,
            states=wanted.states,
            made_by=call.caller.who,
            made_at=self._clock.now(),
        )
        return self._told(await added_rule(self._trust, self._audit, of_accounts(rule, wanted.accounts)))

    async def remove_rule(self, call: Call[OfRule, NoBody]) -> None:
        """Take a trust rule away; tokens that it gave are not renewed."""
        await removed_rule(self._trust, self._audit, call.query.name, by=call.caller.who)

    async def tokens(self, _call: Call[NoQuery, NoBody]) -> TokensTold:
        """List tokens, without their secrets."""
        found = await self._tokens.all()
        return TokensTold(tokens=[told_token(token) for token in found.tokens], unreadable=list(found.unreadable))

    async def make_token(self, call: Call[NoQuery, TokenWanted]) -> TokenMade:
        """Make a token."""
        token, text = await made_token(
            self._tokens, self._audit, call.body, by=call.caller.who, made_with=party_of(call.caller)
        )
        return TokenMade(token=text.whole(), about=told_token(token))

    async def revoke_token(self, call: Call[OfToken, NoBody]) -> TokenTold:
        """End a token, from the next request on."""
        return told_token(await revoked_token(self._tokens, self._audit, call.query.id, by=call.caller.who))

    def _told(self, rule: TrustRule) -> RuleTold:
        return RuleTold(rule=rule, warnings=list(warnings_of(rule, self._clock.now())))


async def added_rule(trust: TrustBook, audit: AuditLog, rule: TrustRule) -> TrustRule:
    """Add a rule and say so in the audit log. Raises as `TrustBook.add`."""
    async with announcing(audit, by=rule.made_by) as announce:

        async def before(rule: TrustRule, _version: int) -> None:
            claims = {f"claim {name}": ",".join(values) for name, values in rule.claims.items()}
            facts = {"role": rule.role.value, "states": rule.states, "issuer": rule.issuer.url, **claims}
            facts |= {"accounts": ", ".join(rule.accounts)} if rule.accounts else {}
            await announce("trust-rule-added", subject=rule.name, facts=facts)

        return await trust.add(rule, before=before)


async def removed_rule(trust: TrustBook, audit: AuditLog, name: str, *, by: str) -> None:
    """Take a rule away and say so in the audit log. Raises as `TrustBook.remove`."""
    async with announcing(audit, by=by) as announce:

        async def before(name: str, version: int) -> None:
            await announce("trust-rule-removed", subject=name, facts={"record_version": version})

        await trust.remove(name, before=before)


async def made_token(
    tokens: TokenBook, audit: AuditLog, wanted: TokenWanted, *, by: str, made_with: Party
) -> tuple[Token, TokenText]:
    """Make a token and tell the audit log, before it can be used. Raises as `TokenBook.create` and `read_accounts`."""
    lifetime = None if wanted.lasts_s is None else span(wanted.lasts_s)
    return await tokens.create(
        wanted.role,
        states=wanted.states,
        note=wanted.note,
        by=by,
        lifetime=lifetime,
        accounts=read_accounts(wanted.person),
        makers=made_with.everybody,
        before=telling_of_token(audit),
    )


def telling_of_token(audit: AuditLog) -> Before[Token]:
    """Return what says in the audit log that a token is made."""

    async def before(token: Token, _version: int) -> None:
        ends = str(token.expires_at or "never")
        facts = {"role": token.role.value, "states": token.states, "note": token.note, "expires": ends}
        facts |= {"person": ", ".join(token.accounts)} if token.accounts else {}
        await audit.announce("token-created", subject=token.id, by=token.made_by, facts=facts)

    return before


async def revoked_token(tokens: TokenBook, audit: AuditLog, token_id: str, *, by: str) -> Token:
    """End a token and say so in the audit log. Raises as `TokenBook.revoke`."""

    async def before(token: Token, _version: int) -> None:
        await audit.announce("token-revoked", subject=token.id, by=by, facts={"role": token.role.value})

    return await tokens.revoke(token_id, before=before)


def told_token(token: Token) -> TokenTold:
    """Return what may be told of a token."""
    return TokenTold(
        id=token.id,
        role=token.role,
        states=token.states,
        note=token.note,
        made_by=token.made_by,
        made_at=token.made_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        used_at=token.used_at,
        run=token.bound.run if token.bound is not None else "",
        rule=token.bound.rule if token.bound is not None else "",
        person=list(token.persons),
    )


def read_form_body(body: bytes) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        UsageError: It is not a form, or has a field twice.
    """
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=_FIELDS_MAX)
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError("what was sent is not a form", fix="send it as application/x-www-form-urlencoded") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise UsageError("what was sent is not usable", why="a field of the form is there twice")
    return form


def identity_endpoints(api: IdentityApi) -> list[AnyEndpoint]:
    """Return the rows."""
    return [
        acts(
            "/tokens/exchange",
            api.exchange,
            right=None,
            is_open=True,
            query=NoQuery,
            body=bytes,
            form=ExchangeForm,
            answer=Exchanged,
            limit_bytes=FORM_BYTES_MAX,
        ),
        acts("/tokens/renew", api.renew, right=None, query=NoQuery, body=NoBody, answer=Renewed),
        reads("/login", api.providers, right=None, is_open=True, query=NoQuery, answer=Providers),
        *_administration(api),
    ]


def _administration(api: IdentityApi) -> list[AnyEndpoint]:
    return [
        reads("/tokens", api.tokens, right=Right.ADMINISTER, query=NoQuery, answer=TokensTold),
        acts("/tokens", api.make_token, right=Right.ADMINISTER, query=NoQuery, body=TokenWanted, answer=TokenMade),
        acts("/tokens/revoke", api.revoke_token, right=Right.ADMINISTER, query=OfToken, body=NoBody, answer=TokenTold),
        reads("/trust", api.rules, right=Right.ADMINISTER, query=NoQuery, answer=RulesTold),
        acts("/trust", api.add_rule, right=Right.ADMINISTER, query=NoQuery, body=RuleWanted, answer=RuleTold),
        acts(
            "/trust", api.remove_rule, method="DELETE", right=Right.ADMINISTER, query=OfRule, body=NoBody, answer=None
        ),
    ]
