"""Token lifecycle as values: which slot of the pool needs a token now, when the next is due, what failed and why.

The pool grows on demand, mints one token at a time and never faster than the login service's pace, refreshes each
token well before it expires (with jitter, so that tokens minted together do not expire together), and backs off on the
login service's "rate limit exceeded". Clients get placeholders: signed, long-lived, worthless at the API.

Source: facts about the login service are in genesys/data/limits.json.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from interlock.bounded import read_json
from interlock.genesys.limits import LOGIN_LIMIT_ERROR, LoginLimit

POOL_MAX = 50
"""Most tokens of one gateway: the provider's own maximum."""
TOKEN_LIFE_MIN_S = 1.0
"""A shorter life is not believed; the API's shortest is 300 s."""

_REFRESH_AT = 0.70  # share of a life after which a token is refreshed ...
_JITTER = 0.15  # ... plus up to this much, so the last 15 % are left for trouble at the login service
_EXPIRY_MARGIN_S = 2.0  # a token this near to its end is not used: the request may be on its way that long ...
_EXPIRY_MARGIN = 0.05  # ... but of a short life only so much
_ANSWER_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that no repr, log or message shows."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        """Hide the value."""
        return "(secret)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The OAuth client of the gateway."""

    client_id: str
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One access token.

    Attributes:
        value: The bearer.
        generation: Counts the tokens of the pool, so that a late 401 is not held against a newer token.
        refresh_s: When to replace it.
        expires_s: Until when it may be used.
    """

    value: Secret
    generation: int
    refresh_s: float
    expires_s: float


class MintFailure(Enum):
    """Why the login service gave no token."""

    RATE_LIMITED = "the login service's rate limit"
    REFUSED = "the login service refused the OAuth client"
    UNAVAILABLE = "the login service is ill"
    UNREACHABLE = "the login service cannot be reached"
    PROXY = "the proxy lets nobody through to the login service"


_SETTLED = frozenset({MintFailure.REFUSED, MintFailure.PROXY})  # answers that a repetition does not change


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """All slots.

    Attributes:
        limit: The login service's pace.
        size: Most tokens.
        wanted: Tokens that are wanted now; grows on demand.
        tokens: One per slot, None where there is none or it was refused.
        minting: The slot that a request is under way for.
        next_mint_s: Not before.
        backoff_s: The last wait after a failure; 0.0 after a success.
        fault: Why no token comes, for people; empty when all is well.
        failure: Which kind of reason that is; None when all is well.
        minted: Tokens obtained since the start.
        failures: Requests that failed.
    """

    limit: LoginLimit
    size: int
    wanted: int = 1
    tokens: tuple[Token | None, ...] = ()
    minting: int | None = None
    next_mint_s: float = float("-inf")
    backoff_s: float = 0.0
    fault: str = ""
    failure: MintFailure | None = None
    minted: int = 0
    failures: int = 0

    @property
    def refused(self) -> bool:
        """Whether the OAuth client itself was refused."""
        return self.failure is MintFailure.REFUSED

    @property
    def is_cut_off(self) -> bool:
        """Whether the login service was never reached: there was never a token, and nobody answers."""
        return not self.minted and self.failure in {MintFailure.UNREACHABLE, MintFailure.PROXY}


def new_pool(limit: LoginLimit, size: int) -> Pool:
    """Return a pool without tokens; the size is kept between 1 and `POOL_MAX`."""
    size = min(max(size, 1), POOL_MAX)
    return Pool(limit=limit, size=size, tokens=(None,) * size)


def renewed(pool: Pool) -> Pool:
    """Return the pool for other credentials: no token of the old ones is left, and generations go on."""
    fresh = new_pool(pool.limit, pool.size)
    return replace(fresh, wanted=pool.wanted, minted=pool.minted, failures=pool.failures)


def is_settled(pool: Pool, now_s: float) -> bool:
    """Say whether a login has its answer: there is a token, or one that does not change by waiting."""
    return bool(usable_slots(pool, now_s)) or pool.failure in _SETTLED


def usable(pool: Pool, slot: int, now_s: float) -> Token | None:
    """Return the token of a slot if it may be used now."""
    token = pool.tokens[slot]
    return token if token is not None and now_s < token.expires_s else None


def usable_slots(pool: Pool, now_s: float) -> frozenset[int]:
    """Return the slots whose token may be used now."""
    return frozenset(slot for slot in range(pool.size) if usable(pool, slot, now_s) is not None)


def due(pool: Pool, now_s: float) -> int | None:
    """Return the slot to mint for now: empty ones first, then the one whose refresh is most overdue; None for none."""
    if pool.minting is not None or now_s < pool.next_mint_s:
        return None
    candidates = [(at, slot) for at, slot in _needs(pool, now_s) if at <= now_s]
    return min(candidates)[1] if candidates else None


def next_due_s(pool: Pool, now_s: float) -> float | None:
    """Return when something is to be done next: a mint, or the end of a token; None while nothing is."""
    ends = [token.expires_s for token in pool.tokens if token is not None and token.expires_s > now_s]
    mints = [] if pool.minting is not None else [max(at, pool.next_mint_s) for at, _ in _needs(pool, now_s)]
    return min([*ends, *mints], default=None)


def _needs(pool: Pool, now_s: float) -> Iterator[tuple[float, int]]:
    for slot in range(min(pool.wanted, pool.size)):
        token = usable(pool, slot, now_s)
        yield (float("-inf") if token is None else token.refresh_s, slot)


def want(pool: Pool, now_s: float) -> Pool:
    """Ask for one more token, unless one is already on its way or all slots are wanted."""
    on_its_way = any(usable(pool, slot, now_s) is None for slot in range(pool.wanted))
    return pool if on_its_way or pool.wanted >= pool.size else replace(pool, wanted=pool.wanted + 1)


def start(pool: Pool, slot: int, now_s: float) -> Pool:
    """A token request goes out for the slot."""
    return replace(pool, minting=slot, next_mint_s=now_s + pool.limit.mint_every_s)


def minted(pool: Pool, value: Secret, *, life_s: float, now_s: float, chance: float) -> Pool:
    """The request gave a token.

    Args:
        pool: As it was; `minting` says whose token it is.
        value: The bearer.
        life_s: The answer's expires_in.
        now_s: When the request was sent, which is before the life began.
        chance: From 0.0 to 1.0, for the jitter.
    """
    assert pool.minting is not None, "a token that nobody asked for"
    life_s = max(life_s, TOKEN_LIFE_MIN_S)
    token = Token(
        value=value,
        generation=pool.minted + 1,
        refresh_s=now_s + life_s * (_REFRESH_AT + _JITTER * chance),
        expires_s=now_s + life_s - min(_EXPIRY_MARGIN_S, life_s * _EXPIRY_MARGIN),
    )
    tokens = tuple(token if slot == pool.minting else each for slot, each in enumerate(pool.tokens))
    return replace(pool, tokens=tokens, minting=None, backoff_s=0.0, fault="", failure=None, minted=pool.minted + 1)


def failed(pool: Pool, why: MintFailure, detail: str, *, now_s: float, chance: float) -> Pool:
    """The request gave no token: wait longer each time, and a random part of it.

    Args:
        pool: As it was.
        why: What kind of failure.
        detail: What the login service said, without any secret.
        now_s: Now.
        chance: From 0.0 to 1.0, for the jitter.
    """
    low, high = pool.limit.backoff_min_s, pool.limit.backoff_max_s
    backoff_s = high if why in _SETTLED else min(max(pool.backoff_s * 2.0, low), high)
    wait_s = backoff_s * (0.75 + 0.5 * chance)
    return replace(
        pool,
        minting=None,
        backoff_s=backoff_s,
        next_mint_s=now_s + wait_s,
        fault=f"{why.value}: {detail}" if detail else why.value,
        failure=why,
        failures=pool.failures + 1,
    )


def given_up(pool: Pool) -> Pool:
    """The request for a slot is of no interest any more; the next one may go at once."""
    return replace(pool, minting=None, next_mint_s=float("-inf"))


def rejected(pool: Pool, slot: int, generation: int) -> Pool:
    """The API answered 401 to a token of that generation: it is not used again."""
    token = pool.tokens[slot]
    if token is None or token.generation != generation:
        return pool
    return replace(pool, tokens=tuple(None if at == slot else each for at, each in enumerate(pool.tokens)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A login service's good answer."""

    value: Secret
    life_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMinted:
    """Any other answer."""

    why: MintFailure
    detail: str


def read_login_answer(status: int, body: bytes) -> Minted | NotMinted:
    """Read what the login service answered to a token request; never raises."""
    try:
        document = read_json(body[:_ANSWER_MAX])
    except ValueError:
        document = None
    fields = document if isinstance(document, dict) else {}
    if status == 200 and isinstance(fields.get("access_token"), str):  # noqa: PLR2004 - HTTP's OK
        life = fields.get("expires_in")
        sure = isinstance(life, int | float) and not isinstance(life, bool)
        return Minted(value=Secret(fields["access_token"]), life_s=float(life) if sure and life else 300.0)
    return _why_not(status, fields)


def _why_not(status: int, fields: dict[str, object]) -> NotMinted:
    text = f"{status} {_word(fields.get('error'))} {_word(fields.get('error_description'))}".strip()
    description = str(fields.get("error_description", "")).lower()
    if status == 429 or description.startswith(LOGIN_LIMIT_ERROR):  # noqa: PLR2004 - HTTP's too many requests
        return NotMinted(why=MintFailure.RATE_LIMITED, detail=text)
    if status in {400, 401, 403}:
        return NotMinted(why=MintFailure.REFUSED, detail=text)
    return NotMinted(why=MintFailure.UNAVAILABLE, detail=text)


def _word(value: object) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", value)[:120] if isinstance(value, str) else ""


# What clients get

PLACEHOLDER_LIFE_S = 14 * 86400
"""Life of a placeholder: outlives any run, and in milliseconds still fits the 31 bits of a JavaScript timer."""
_PREFIX = "ilk"
_MAC_BYTES = 16
_PLACEHOLDER_MAX = 512


class Placeholders:
    """Issues and reads the tokens that clients use between themselves and the gateway.

    They are signed and not stored, so any number of them costs no memory, and replicas that share the key agree.

    Args:
        key: At least 32 secret bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:  # noqa: PLR2004 - as the docstring says
            raise ValueError("a placeholder key has at least 32 bytes")
        self._key = key

    def issue(self, subject: str, *, now_unix_s: int) -> str:
        """Return a placeholder for a client's name."""
        payload = _b64(json.dumps([subject, now_unix_s + PLACEHOLDER_LIFE_S]).encode())
        return f"{_PREFIX}.{payload}.{self._mac(payload)}"

    def read(self, text: str, *, now_unix_s: int) -> str | None:
        """Return the client's name; None when it is not ours, was changed, or is over."""
        parts = text.split(".") if len(text) <= _PLACEHOLDER_MAX and text.isascii() else []
        if len(parts) != 3 or parts[0] != _PREFIX or not hmac.compare_digest(parts[2], self._mac(parts[1])):  # noqa: PLR2004 - prefix, payload, mac
            return None
        subject, until = read_json(base64.urlsafe_b64decode(parts[1] + "=="))
        return str(subject) if now_unix_s < until else None

    def _mac(self, payload: str) -> str:
        return _b64(hmac.new(self._key, payload.encode(), hashlib.sha256).digest()[:_MAC_BYTES])


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read_basic(header: str | None) -> Credentials | None:
    """Read an `Authorization: Basic` header; None when it is missing or malformed."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    client_id, colon, secret = text.partition(":")
    return Credentials(client_id=client_id, secret=Secret(secret)) if colon else None


def read_bearer(header: str | None) -> str | None:
    """Read an `Authorization: Bearer` header; None when there is none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def basic_header(credentials: Credentials) -> str:
    """Spell the header for the login service. Never log it."""
    raw = f"{credentials.client_id}:{credentials.secret.value}".encode()
    return "Basic " + base64.b64encode(raw).decode()


def are_same(left: Credentials, right: Credentials) -> bool:
    """Compare in constant time."""
    same_id = hmac.compare_digest(left.client_id.encode(), right.client_id.encode())
    same_secret = hmac.compare_digest(left.secret.value.encode(), right.secret.value.encode())
    return same_id and same_secret
