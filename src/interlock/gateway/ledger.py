"""Who of several processes may use how much of a shared budget: slices of its window, as a value that can be stored.

A process draws a slice before it sends and closes it when the last of its requests was answered, saying how much it
used. So one transaction covers many requests, and the sum of all open and recently closed slices never exceeds the
allowance: the rule of `budget.py`, one level up. A process that dies leaves its slice behind, which then frees itself
after the longest time that its requests could have taken.

Pace and turns are shared too. An account gives out its rate evenly, with the burst of one budget, so that nobody
empties a window at its beginning and leaves a gap. And it remembers what each class got for its weight, and each
process of a class: while one that got less asks, the others wait, so an apply and a drift scan in two processes share
as they do in one, and who is near the store takes no more than who is far. Who got all it wanted asks no more.

Times are wall-clock seconds of one clock: that of the machine whose file the store is, or that of the service which
keeps a *far* account for several machines. A far account gives longer slices, since each costs a paid request, and
counts them for longer, since machines know that clock only to about a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import msgspec

from interlock.bounded import decode_json
from interlock.gateway.budget import BURST_SHARE, CLOCK_DRIFT, RESET_MAX_S

SCHEMA = 1
ACCOUNTS_MAX = 512
"""Most budgets in one ledger that are in use at once; from a further one nothing can be drawn until one is idle."""
SLICES_MAX = 512
"""Most slices of one budget; a draw beyond it waits."""
_ROUNDING = 1e-6
ANSWER_MAX_S = 60.0
"""The longest time that a request may be under way; see `proxy.REPLY_S`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """How quickly an account is shared.

    Attributes:
        usable_share: For this part of the window a slice may be used, which is what sharing costs in utilisation ...
        usable_max_s: ... but for no longer.
        asks_s: For how long a class that asked goes before others; it asks again sooner.
        idle_s: A class that did not ask for so long saves up nothing.
        burst_s: What the rate gives in so many seconds may be drawn at once, at least.
        joined_share: Slices that are free again within this part of a slice's time are kept as one.
        skew_s: By so much two users of the account may differ in what time it is.
    """

    usable_share: float
    usable_max_s: float
    asks_s: float
    idle_s: float
    burst_s: float
    joined_share: float
    skew_s: float


NEAR = Tempo(usable_share=1 / 60, usable_max_s=1.0, asks_s=0.5, idle_s=2.0, burst_s=0.25, joined_share=0.5, skew_s=0.0)
"""Of one machine: a process asks every 0.2 s at least while it waits."""
FAR = Tempo(usable_share=1 / 12, usable_max_s=5.0, asks_s=3.0, idle_s=15.0, burst_s=5.0, joined_share=0.1, skew_s=2.0)
"""Of several machines: a process asks about once a second while it waits, and a service's clock tells whole seconds."""

LAG_MAX = 8.0
"""Most that a class may be owed, in requests per unit of weight; as within one process."""

_WORTH_S = 2.0  # a far slice is drawn when there is what goes in so long: less is not worth a request
_GONE_S = 60.0
_NEWCOMER = 1.0  # a class that begins to ask goes first once, so that equals do not wait for each other

CLOSED = ""
"""Owner of what was used and is not drawn any more."""
LOST = "lost"
"""Owner of the slice that stands for what nobody knows any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of a window.

    Attributes:
        owner: Process and number; unique.
        amount: Requests.
        free_at_s: When it counts no more.
        turn: The class that it was drawn for; empty when it did not matter.
        weight: Of that class.
        process: Which process of the class drew it; empty in slices of releases without turns of processes.
    """

    owner: str
    amount: int
    free_at_s: float
    turn: str = ""
    weight: float = 1.0
    process: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """For which class something is drawn.

    Attributes:
        name: Of the class.
        weight: Its share against the other classes.
        process: Which process asks; empty when it does not matter.
    """

    name: str
    weight: float
    process: str = ""

    @property
    def within(self) -> Turn:
        """The turn of the process among those of its class."""
        return Turn(name=f"{self.name}/{self.process}", weight=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One shared budget.

    Attributes:
        allowed: Requests in a window.
        window_s: Its length.
        blocked_until_s: Closed for everybody until then.
        slices: What is drawn.
        level: What the pace gave at `level_at_s`; None for a full burst.
        level_at_s: When that was true.
        served: What each class got, divided by its weight.
        asked: When each class, and each process of one, last asked for what it did not get; of one that got all it
            wanted, so long before that nobody waits for it.
        weights: What each class weighs, of a far account.
        is_far: It is shared between machines.
    """

    allowed: int
    window_s: float
    blocked_until_s: float = 0.0
    slices: tuple[Slice, ...] = ()
    level: float | None = None
    level_at_s: float = 0.0
    served: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    is_far: bool = False

    @property
    def tempo(self) -> Tempo:
        """How quickly it is shared."""
        return FAR if self.is_far else NEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All shared budgets of one organisation.

    Attributes:
        schema: Version of this form.
        accounts: By name.
        lost_at_s: When a ledger that could not be read was begun anew; 0.0 for one that never was. What was drawn
            before is unknown, so a new account counts as drawn in full until what was drawn then is free at the latest.
    """

    schema: int = SCHEMA
    accounts: dict[str, Account] = field(default_factory=dict)
    lost_at_s: float = 0.0


def usable_s(window_s: float, tempo: Tempo = NEAR) -> float:
    """Return how long a slice may be used."""
    return min(window_s * tempo.usable_share, tempo.usable_max_s)


def _longest_s(account: Account) -> float:
    tempo = account.tempo
    return usable_s(account.window_s, tempo) + ANSWER_MAX_S + account.window_s + tempo.skew_s


def occupied(account: Account, now_s: float) -> int:
    """Return how much of the window is drawn."""
    return sum(each.amount for each in account.slices if each.free_at_s > now_s)


def next_free_s(account: Account, now_s: float) -> float | None:
    """Return when the next slice frees itself; None when nothing is drawn."""
    return min((each.free_at_s for each in account.slices if each.free_at_s > now_s), default=None)


def enough_free_s(account: Account, now_s: float, least: int) -> float:
    """Return in how many seconds so much of the window is free at the latest; 0.0 for now."""
    missing = least - (account.allowed - occupied(account, now_s))
    for each in sorted(account.slices, key=lambda each: each.free_at_s):
        if missing <= 0:
            break
        if each.free_at_s > now_s:
            missing -= each.amount
            if missing <= 0:
                return each.free_at_s - now_s
    return 0.0


def settle_account(
    ledger: Ledger, name: str, *, allowed: int, window_s: float, now_s: float, is_far: bool = False
) -> Ledger:
    """Return the ledger with an account as this process knows it; each process learns a changed limit by itself.

    Slices that are over are dropped, and none is believed to be over later than possible, nor is an account believed to
    be closed for longer than one can be: so a clock that was set back costs at most one such time.
    """
    before = ledger.accounts.get(name)
    if before is None:
        ledger = _without_the_idle(ledger, now_s)
        if len(ledger.accounts) >= ACCOUNTS_MAX:
            return ledger
    account = Account(allowed=allowed, window_s=window_s, is_far=is_far)
    if before is not None:
        account = replace(before, allowed=allowed, window_s=window_s)
    elif ledger.lost_at_s:
        lost = Slice(owner=LOST, amount=allowed, free_at_s=ledger.lost_at_s + _longest_s(account))
        account = replace(account, slices=(lost,))
    latest_s = now_s + _longest_s(account)
    slices = tuple(
        replace(each, free_at_s=min(each.free_at_s, latest_s)) for each in account.slices if each.free_at_s > now_s
    )
    blocked_until_s = min(account.blocked_until_s, now_s + RESET_MAX_S)
    account = _without_the_gone(account, now_s)
    return _with(ledger, name, replace(account, slices=slices, blocked_until_s=blocked_until_s))


def _without_the_idle(ledger: Ledger, now_s: float) -> Ledger:
    """Forget accounts that would begin anew just as they are: states have some of their own, and there are many."""
    busy = {name: account for name, account in ledger.accounts.items() if not _is_idle(account, now_s)}
    return replace(ledger, accounts=busy)


def _is_idle(account: Account, now_s: float) -> bool:
    if occupied(account, now_s) or account.blocked_until_s > now_s:
        return False
    is_full = account.level is None or level_at(account, now_s) >= _burst(account)
    return is_full and all(abs(now_s - at_s) > _GONE_S for at_s in account.asked.values())


def _without_the_gone(account: Account, now_s: float) -> Account:
    """Forget processes that asked nothing for long: each run is one."""
    gone = {each for each, at_s in account.asked.items() if "/" in each and now_s - at_s > _GONE_S}
    if not gone:
        return account
    asked = {each: at_s for each, at_s in account.asked.items() if each not in gone}
    served = {each: got for each, got in account.served.items() if each not in gone}
    return replace(account, asked=asked, served=served)


def draw(
    ledger: Ledger, name: str, *, owner: str, want: int, now_s: float, turn: Turn | None = None, least: int = 1
) -> tuple[Ledger, Slice | None]:
    """Draw up to `want` and at least `least` from an account, for a class when one is named.

    A call that costs more than the pace ever gives at once goes on a full burst, and the pace makes up for it.

    Returns:
        The ledger and the slice; None when nothing can be drawn now. What asked is remembered either way.
    """
    account = ledger.accounts.get(name)
    if account is None or now_s < account.blocked_until_s or len(account.slices) >= SLICES_MAX:
        return ledger, None
    account = _ask(account, turn, now_s)
    amount = min(want, account.allowed - occupied(account, now_s))
    amount = min(amount, max(least, most_at_once(account, turn, now_s)))
    least = max(least, piece_of(account, turn, want, now_s))
    if turn is not None:
        level = level_at(account, now_s) + _ROUNDING
        amount = min(amount, max(math.floor(level), least if level >= _burst(account) else 0))
    if amount < least or not _is_turn(account, turn, now_s):
        return _with(ledger, name, account), None
    piece = Slice(owner=owner, amount=amount, free_at_s=now_s + _longest_s(account))
    if turn is not None:
        piece = replace(piece, turn=turn.name, weight=turn.weight, process=turn.process)
        account = _serve(account, piece, amount, now_s)
    return _with(ledger, name, replace(account, slices=(*account.slices, piece))), piece


def satisfied(ledger: Ledger, name: str, turn: Turn, *, now_s: float) -> Ledger:
    """Note that who drew has all it wants: nobody waits for it until it asks again, but it is not idle yet.

    Else a run of few calls, which is always owed something, would keep the others waiting for most of the time, and
    what it leaves would be lost.
    """
    account = ledger.accounts[name]
    names = [turn.name, turn.within.name] if turn.process else [turn.name]
    past_s = now_s - account.tempo.asks_s - _ROUNDING
    return _with(ledger, name, replace(account, asked={**account.asked, **dict.fromkeys(names, past_s)}))


def piece_of(account: Account, turn: Turn | None, want: int, now_s: float) -> int:
    """Return the smallest slice that is worth its request: of a far account what is its user's part of some seconds.

    Many small ones would each cost a request, and a process that is near would take them all. Large ones would leave
    the others nothing for long, and one of a class of little weight would be more than it is owed for a minute.
    """
    if not account.is_far or turn is None:
        return 1
    part = min(_part_of(account, turn, now_s), 0.5)  # who is alone leaves room for who comes
    worth_s = min(_WORTH_S, usable_s(account.window_s, FAR))  # never more than the largest slice, see below
    return max(min(want, math.floor(_rate(account) * worth_s * part)), 1)


def most_at_once(account: Account, turn: Turn | None, now_s: float) -> int:
    """Return the largest slice: of a far account that others use too, its user's part of what a slice lasts."""
    part = _part_of(account, turn, now_s) if account.is_far and turn is not None else 1.0
    if part >= 1.0:
        return account.allowed
    return max(math.ceil(_rate(account) * usable_s(account.window_s, FAR) * part), 1)


def _part_of(account: Account, turn: Turn, now_s: float) -> float:
    """Return which part of a far account is a process's: its class's by weight, among the processes of the class."""
    active = [name for name, at_s in account.asked.items() if _is_lately(at_s, now_s, FAR.idle_s)]
    weights = {name: account.weights.get(name, 1.0) for name in active if "/" not in name} | {turn.name: turn.weight}
    same = sum(1 for name in active if name.startswith(f"{turn.name}/"))
    return turn.weight / sum(weights.values()) / max(same, 1)


def level_at(account: Account, now_s: float) -> float:
    """Return how much the pace gives now. After a clock was set back it gives nothing for a window at most."""
    burst = _burst(account)
    if account.level is None:
        return max(burst / 2, 1.0) if account.is_far else burst
    passed_s = max(now_s - account.level_at_s, 0.0)
    if now_s < account.level_at_s - account.window_s:
        return burst
    return min(account.level + passed_s * _rate(account), burst)


def _rate(account: Account) -> float:
    """Return what an account gives a second: each slice occupies its window for as long as clocks may differ."""
    return account.allowed / (account.window_s + account.tempo.skew_s)


def _burst(account: Account) -> float:
    """Half of one budget's burst, and at least what the rate gives between two askings of a process."""
    asked_again = _rate(account) * account.tempo.burst_s
    return max(account.allowed * BURST_SHARE / 2, asked_again, 1.0)


def pace_wait_s(account: Account, now_s: float, least: int = 1) -> float:
    """Return when the pace gives so much; 0.0 for at once."""
    return max(min(float(least), _burst(account)) - level_at(account, now_s), 0.0) / _rate(account)


def _ask(account: Account, turn: Turn | None, now_s: float) -> Account:
    """Note that a class asks, and a process of it where they take turns."""
    if turn is None:
        return account
    account = _ask_one(account, turn, [each for each in account.asked if "/" not in each], now_s)
    if account.is_far:
        account = replace(account, weights={**account.weights, turn.name: turn.weight})
    if not turn.process:
        return account
    rivals = [each for each in account.asked if each.startswith(f"{turn.name}/")]
    return _ask_one(account, turn.within, rivals, now_s)


def _ask_one(account: Account, turn: Turn, rivals: list[str], now_s: float) -> Account:
    """Note who asks. Who was idle starts where the others are, and nobody is owed without bound."""
    idle_s = account.tempo.idle_s
    active = [account.served.get(each, 0.0) for each in rivals if _is_lately(account.asked[each], now_s, idle_s)]
    mine = account.served.get(turn.name, 0.0)
    if active:
        is_active = _is_lately(account.asked.get(turn.name, -math.inf), now_s, idle_s)
        most_owed = LAG_MAX * max(_rate(account), 1.0) if turn.weight == 1.0 and account.is_far else LAG_MAX
        mine = max(mine, max(active) - most_owed, mine if is_active else min(active) - _NEWCOMER)
    served = {**account.served, turn.name: mine}
    return replace(account, served=served, asked={**account.asked, turn.name: now_s})


def _is_turn(account: Account, turn: Turn | None, now_s: float) -> bool:
    """Say whether nobody else who asks got less: no class for its weight, and no process of this class."""
    if turn is None:
        return True
    classes = [each for each in account.asked if "/" not in each]
    if not _is_first(account, turn.name, classes, now_s):
        return False
    rivals = [each for each in account.asked if each.startswith(f"{turn.name}/")]
    return not turn.process or _is_first(account, turn.within.name, rivals, now_s)


def _is_first(account: Account, name: str, rivals: list[str], now_s: float) -> bool:
    mine, asks_s = account.served[name], account.tempo.asks_s
    others = [each for each in rivals if each != name and _is_lately(account.asked[each], now_s, asks_s)]
    return all(account.served.get(each, 0.0) >= mine for each in others)


def _serve(account: Account, piece: Slice, amount: int, now_s: float) -> Account:
    """Note what a class got, or with a negative amount gave back."""
    level = min(level_at(account, now_s) - amount, _burst(account))
    served = {**account.served, piece.turn: account.served.get(piece.turn, 0.0) + amount / piece.weight}
    within = f"{piece.turn}/{piece.process}"
    if piece.process:
        served[within] = account.served.get(within, 0.0) + amount
    return replace(account, served=served, level=level, level_at_s=max(now_s, account.level_at_s))


def _is_lately(at_s: float, now_s: float, within_s: float) -> bool:
    return abs(now_s - at_s) <= within_s


def close(ledger: Ledger, name: str, *, owner: str, used: int, answered_s: float) -> Ledger:
    """Give back what was not used; what was used counts until a window after the last answer."""
    account = ledger.accounts.get(name)
    if account is None:
        return ledger
    others = tuple(each for each in account.slices if each.owner != owner)
    for each in account.slices:
        if each.owner == owner and each.turn and used < each.amount:
            account = _serve(account, each, used - each.amount, answered_s)
    if len(others) == len(account.slices) or used < 1:
        return _with(ledger, name, replace(account, slices=others))
    free_at_s = answered_s + account.window_s * (1.0 + CLOCK_DRIFT) + account.tempo.skew_s
    piece = Slice(owner=owner, amount=used, free_at_s=free_at_s)
    if any(each.owner == owner and each.turn for each in account.slices):
        others, piece = _joined(others, piece, usable_s(account.window_s, account.tempo) * account.tempo.joined_share)
    return _with(ledger, name, replace(account, slices=(*others, piece)))


def _joined(slices: tuple[Slice, ...], piece: Slice, step_s: float) -> tuple[tuple[Slice, ...], Slice]:
    """Join a closed slice with one that frees itself in the same step: the pace makes many small ones."""
    free_at_s = math.ceil(piece.free_at_s / step_s) * step_s
    same = [each for each in slices if each.owner == CLOSED and each.free_at_s == free_at_s]
    amount = piece.amount + sum(each.amount for each in same)
    return tuple(each for each in slices if each not in same), Slice(owner=CLOSED, amount=amount, free_at_s=free_at_s)


def block(ledger: Ledger, name: str, *, until_s: float) -> Ledger:
    """Close an account for everybody; a later end stays."""
    account = ledger.accounts.get(name)
    if account is None:
        return ledger
    return _with(ledger, name, replace(account, blocked_until_s=max(account.blocked_until_s, until_s)))


def _with(ledger: Ledger, name: str, account: Account) -> Ledger:
    return replace(ledger, accounts={**ledger.accounts, name: account})


def to_bytes(ledger: Ledger) -> bytes:
    """Spell a ledger as stored."""
    return msgspec.json.encode(ledger)


def from_bytes(raw: bytes, *, now_s: float) -> Ledger:
    """Read a stored ledger. One that cannot be read, or of another schema, is begun anew: budgets are not state."""
    return read_ledger(raw) or Ledger(lost_at_s=now_s)


def read_ledger(raw: bytes) -> Ledger | None:
    """Read a stored ledger; None for one that cannot be read, or of another schema."""
    try:
        ledger = decode_json(raw, type=Ledger)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return ledger if ledger.schema == SCHEMA else None


def lost_until_s(ledger: Ledger, now_s: float) -> float:
    """Return until when something counts as drawn because nobody knows; 0.0 when nothing does."""
    slices = (each for account in ledger.accounts.values() for each in account.slices)
    return max((each.free_at_s for each in slices if each.owner == LOST and each.free_at_s > now_s), default=0.0)
