"""A request and an instant in; admit, wait, or refuse with a reason and an honest time to come back.

Joins the budgets, the turns and the in-flight limit. Knows no sockets and no clock: `offer` and `finish` are told what
happened, `grants` says who may go now, `next_event_s` says when to ask again. `proxy.py` does the rest.

Rules: a request goes when one token and every budget it needs have room, the in-flight limit has room, and it is its
turn among those for which that is so. It waits at most until its deadline. A client that was told to come back finds
its place again, so patience is never punished.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from interlock.gateway.allotment import Allotments, Taken
from interlock.gateway.blame import Blame, Whose
from interlock.gateway.budget import RESET_MAX_S, Budget, BudgetMaker, Place, plain_budget
from interlock.gateway.concurrency import Concurrency, Sample, after, may_send
from interlock.gateway.fairness import Entry, Turns
from interlock.gateway.headers import Heard
from interlock.gateway.lines import Lines
from interlock.gateway.rules import ORGANISATION, TOKEN, Need, Rules
from interlock.gateway.trouble import Trouble
from interlock.lock import Priority

WAITING_MAX = 4096
"""Most requests that may wait at once, over all clients."""
WAITING_OF_FLOW_MAX = 1024
"""Most requests of one run or client that may wait: one client cannot fill the house."""
AWAY_MAX = 8192
"""Most places kept for clients that were told to come back."""
_AWAY_KEPT_S = 240.0  # the longest Retry-After and a margin
_RAISED_BY = 30  # answers in a row that name the same higher limit for one token
_SERVER_TROUBLE = frozenset({502, 503, 504})
_TOO_MANY = 429
_CLIENT_ERROR = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request that wants to go.

    Attributes:
        flow: The run or client: the unit of fairness.
        priority: Its class.
        needs: Budgets beside the token's, from `Rules.needs`.
        arrived_s: When it came; never before the last instant this admission saw.
        deadline_s: Until when it may wait here.
        memory: What it is recognised by when its client comes back: a digest of flow, method, target and body.
        only: The one slot whose token it may use, after another of its tokens was refused; None for any.
        state: Whose share it goes on, see `Allotments`; empty for nobody's.
    """

    flow: str
    priority: Priority
    needs: tuple[Need, ...]
    arrived_s: float
    deadline_s: float
    memory: bytes = b""
    only: int | None = None
    state: str = ""


class Full(Enum):
    """Why a request may not even wait."""

    HOUSE = "too many requests wait at the gateway"
    FLOW = "too many requests of this client wait at the gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Leave to send one request on one token.

    Attributes:
        entry: Whose it is.
        slot: The token's slot.
        places: What it occupies, by budget name; the token's under `token`.
        sent_s: When leave was given.
        taken: What it occupies of its state's share.
    """

    entry: Entry[Ask]
    slot: int
    places: dict[str, Place]
    sent_s: float
    taken: Taken = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a granted request ended.

    Attributes:
        status: Of the answer; 0 when none came.
        sent: False when it never left.
        heard: Rate headers of the answer.
        retry_after_s: Of a 429.
        withdrawn: The gateway or the client let go of it; says nothing about load.
    """

    status: int = 0
    sent: bool = True
    heard: Heard | None = None
    retry_after_s: float | None = None
    withdrawn: bool = False


@dataclass(slots=True)
class Counts:
    """Totals since the start."""

    offered: int = 0
    granted: int = 0
    expired: int = 0
    turned_away: int = 0
    refused_by_api: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Away:
    flow: str
    order_s: float
    until_s: float


class Admission:
    """Everybody who waits for leave to send, and everything they need.

    Args:
        rules: Which budgets a request needs.
        hold_s: How long a request may wait here; used to say when to come back.
        concurrency: The in-flight limit to start with.
        make_budget: Makes a budget that several processes may share.
        overridden: Names of budgets that the user set; learning never exceeds them.
        forget_budget: Told of the name of a state's part of a budget that is used no more.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        hold_s: float,
        concurrency: Concurrency | None = None,
        make_budget: BudgetMaker = plain_budget,
        overridden: Iterable[str] = (),
        forget_budget: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.rules = rules
        self.hold_s = hold_s
        self.concurrency = concurrency or Concurrency(limit=32.0)
        self.trouble = Trouble(limit=self.concurrency.limit, ceiling=self.concurrency.ceiling)
        self.budgets: dict[str, Budget] = {}
        self.slots: dict[int, Budget] = {}
        self.allotments = Allotments(make_budget, forget_budget)
        self.turns: Turns[Ask] = Turns()
        self.in_flight: dict[str, int] = {}
        self.flying = 0
        self.counts = Counts()
        self._make_budget = make_budget
        self._overridden = frozenset(overridden)
        self._open: set[int] = set()
        self._deadlines: list[tuple[float, int, Entry[Ask]]] = []
        self._numbers = itertools.count()
        self._away: OrderedDict[bytes, _Away] = OrderedDict()
        self._lines = Lines()
        self._blame = Blame()
        self._raises: dict[int, tuple[int, int]] = {}

    # Tokens

    def open_slot(self, slot: int, now_s: float) -> None:
        """A token stands ready in the slot. Its budget goes on: a new token may count with the old one."""
        if slot not in self.slots:
            limit = self.rules.limits[TOKEN]
            ceiling = limit.allowed if TOKEN in self._overridden else None
            allowed = limit.allowed if limit.enforce else None
            name = f"{TOKEN}-{slot}"
            self.slots[slot] = Budget(name, allowed=allowed, window_s=limit.window_s, now_s=now_s, ceiling=ceiling)
        self._open.add(slot)

    def learn_token_limit(self, allowed: int, now_s: float) -> None:
        """The organisation's own limits say how much a token has; the user's limit still comes first."""
        limit = self.rules.limits[TOKEN]
        if TOKEN in self._overridden or not limit.enforce or allowed < 1:
            return
        self.rules.limits[TOKEN] = replace(limit, allowed=allowed)
        for budget in self.slots.values():
            budget.announce(allowed, now_s)

    def close_slot(self, slot: int) -> None:
        """The slot has no valid token now."""
        self._open.discard(slot)

    def ready_slots(self) -> frozenset[int]:
        """Return the slots whose token stands ready."""
        return frozenset(self._open)

    def has_tokens(self) -> bool:
        """Say whether any token stands ready."""
        return bool(self._open)

    def wants_token(self, now_s: float) -> bool:
        """Say whether one more token would let somebody go."""
        if not len(self.turns) or not may_send(self.concurrency, self.flying):
            return False
        return any(self._best_slot(now_s, None, state) is None for state in ("", *self.allotments.waiting()))

    def useful(self, name: str, within_s: float, now_s: float) -> int:
        """Return how many of those who wait could use a slice of a shared budget before it is over."""
        return self.allotments.useful(name, len(self.turns), within_s, now_s)

    # Requests

    def offer(self, ask: Ask) -> Entry[Ask] | Full:
        """Let a request wait, or refuse it at once."""
        self.counts.offered += 1
        if len(self.turns) >= WAITING_MAX:
            return self._turned_away(Full.HOUSE)
        if self.turns.waiting_of(ask.flow) >= WAITING_OF_FLOW_MAX:
            return self._turned_away(Full.FLOW)
        for name, _ in ask.needs:
            if name not in self.budgets:
                self.budgets[name] = self._new_budget(name, ask.arrived_s)
        entry = Entry(
            item=ask,
            flow=ask.flow,
            priority=ask.priority,
            group=(ask.needs, ask.only, ask.state),
            order=self._came_back(ask),
        )
        self.turns.add(entry)
        self.allotments.waits(ask.state, 1)
        self._lines.join(ask.flow, entry.order)
        heapq.heappush(self._deadlines, (ask.deadline_s, next(self._numbers), entry))
        return entry

    def grants(self, now_s: float) -> list[Grant]:
        """Give leave to everybody who may go now, in the order of their turns."""
        given: list[Grant] = []
        never: set[Hashable] = set()
        while len(self.turns) and may_send(self.concurrency, self.flying):
            if self._best_slot(now_s, None, "") is None:
                break
            entry = self.turns.next(self._able(now_s, never))
            if entry is None:
                break
            given.append(self._grant(entry, now_s))
        return given

    def expire(self, now_s: float) -> list[tuple[Entry[Ask], int]]:
        """Take out everybody whose deadline is over, each with the Retry-After to tell."""
        over: list[tuple[Entry[Ask], int]] = []
        while self._deadlines and (self._deadlines[0][0] <= now_s or not self._deadlines[0][2].waiting):
            _, _, entry = heapq.heappop(self._deadlines)
            if entry.waiting:
                wait_s = self.retry_after_s(entry, now_s)
                self.withdraw(entry)
                self.counts.expired += 1
                self._remember(entry, wait_s, now_s)
                over.append((entry, wait_s))
        return over

    def withdraw(self, entry: Entry[Ask]) -> None:
        """The client left while it waited."""
        if entry.waiting:
            self._waits_no_more(entry)
        self.turns.remove(entry)

    def finish(self, grant: Grant, finished: Finished, now_s: float) -> None:
        """A granted request ended: free what it occupied in time, and learn from what the API said."""
        self.flying -= 1
        self._landed(grant.entry.flow)
        self._weigh(grant, finished, now_s)
        if finished.heard is not None:
            budget, place = self._spoken_of(grant, finished.heard)
            if self._is_believed(budget, grant.slot, finished.heard):
                budget.learn(finished.heard, place, now_s)
        blamed = self._blamed(grant, finished, now_s) if finished.status == _TOO_MANY else None
        for name, place in grant.places.items():
            budget = self._budget(name, grant.slot)
            if budget is blamed:
                budget.refuse(place, finished.retry_after_s, now_s)
            elif not finished.sent or blamed is not None:
                budget.unsent(place)
            elif finished.status == 0 or finished.status in _SERVER_TROUBLE:
                budget.ended(place, now_s)
            else:
                budget.accepted(place, now_s)
        for part, place in grant.taken:
            if not finished.sent or blamed is not None:  # the API counted nothing
                part.unsent(place)
            else:
                part.ended(place, now_s)

    def next_event_s(self, now_s: float) -> float | None:
        """Return when to look again although nothing happened; None when nothing is due."""
        while self._deadlines and not self._deadlines[0][2].waiting:
            heapq.heappop(self._deadlines)
        if not self._deadlines:
            return None
        soonest = self._deadlines[0][0]
        if may_send(self.concurrency, self.flying) and self._open:
            soonest = min(soonest, now_s + self._soonest_s(now_s))
        return soonest

    def retry_after_s(self, entry: Entry[Ask], now_s: float) -> int:
        """Return when to come back: then the request is served within half a hold. From 1 to 180.

        The estimate: when the first of its budgets has room, and after that its share of the rate for everybody of
        its flow who is before it, here or sent away.
        """
        ask = entry.item
        waits = [self.budgets[name].wait_s(cost, now_s) for name, cost in ask.needs if name in self.budgets]
        waits.append(self.trouble.of(_endpoint(ask.needs)).wait_s(now_s))
        waits.append(self.allotments.wait_s(ask.state, self._wholes(ask.needs), now_s))
        slot_s = self._slot_wait_s(ask.state, now_s)
        turns_s = self._lines.ahead(ask.flow, entry.order) / max(self._rate_of(ask), 1e-9)
        wait_s = max([slot_s, *waits]) + turns_s - self.hold_s / 2
        return int(min(max(math.ceil(wait_s), 1), RESET_MAX_S))

    def why_not(self, ask: Ask) -> str:
        """Say for people what a request that had to go back waited for; empty when it was its turn or a budget."""
        trouble = self.trouble.text(_endpoint(ask.needs))
        if trouble:
            return trouble
        if not may_send(self.concurrency, self.flying):
            return f"the API is slow or fails, and {self.flying} calls, as many as it takes now, are under way"
        return ""

    # Inside

    def _weigh(self, grant: Grant, finished: Finished, now_s: float) -> None:
        """Learn about load: of the endpoint always, of the API when several endpoints are in trouble."""
        sample = _sample(finished)
        ask = grant.entry.item
        endpoint = _endpoint(ask.needs)
        self.trouble.of(endpoint).ended(sample, ask.memory, finished.status, sent_s=grant.sent_s, now_s=now_s)
        if sample is Sample.DROPPED and not self.trouble.is_everywhere(endpoint, now_s):
            sample = Sample.IGNORED
        self.concurrency = after(self.concurrency, sample, in_flight=self.flying + 1, sent_s=grant.sent_s, now_s=now_s)

    def _turned_away(self, why: Full) -> Full:
        self.counts.turned_away += 1
        return why

    def _new_budget(self, name: str, now_s: float) -> Budget:
        limit = self.rules.limits.get(name)
        token = self.rules.limits[TOKEN]
        if limit is None or not limit.enforce:
            return self._make_budget(name, None, token.window_s, None, now_s)
        ceiling = limit.allowed if name in self._overridden else None
        return self._make_budget(name, limit.allowed, limit.window_s, ceiling, now_s)

    def _budget(self, name: str, slot: int) -> Budget:
        return self.slots[slot] if name == TOKEN else self.budgets[name]

    def _able(self, now_s: float, never: set[Hashable]) -> Callable[[Hashable], bool]:
        """Return the question whether a group may go at this instant. What cannot go now cannot later this instant."""
        known: dict[Hashable, bool] = {}

        def may_go(group: Hashable) -> bool:
            if group in never:
                return False
            answer = known.get(group)
            if answer is None:
                answer = known[group] = self._fits(group, now_s)
                if not answer:
                    never.add(group)
            return answer

        return may_go

    def _fits(self, group: Hashable, now_s: float) -> bool:
        needs: tuple[Need, ...]
        only: int | None
        state: str
        needs, only, state = group  # type: ignore[misc]
        if self._best_slot(now_s, only, state) is None:
            return False
        if self.trouble.of(_endpoint(needs)).wait_s(now_s) > 0.0:
            return False
        if self.allotments.wait_s(state, self._wholes(needs), now_s) > 0.0:  # first: slices of the rest would be lost
            return False
        return all(self.budgets[name].fits(cost, now_s) for name, cost in needs)

    def _wholes(self, needs: tuple[Need, ...]) -> list[tuple[Budget, int]]:
        return [(self.budgets[name], cost) for name, cost in needs if name in self.budgets]

    def _best_slot(self, now_s: float, only: int | None, state: str) -> int | None:
        """Return the token with the most room, None when none has room for one request of a state."""
        best, most = None, 1.0 - 1e-9
        for slot in self._open:
            if only is not None and slot != only:
                continue
            room = self.slots[slot].room(now_s)
            if room < most or self.allotments.wait_s(state, [(self.slots[slot], 1)], now_s) > 0.0:
                continue
            if room >= most and (best is None or room > most):
                best, most = slot, room
        return best

    def _grant(self, entry: Entry[Ask], now_s: float) -> Grant:
        ask = entry.item
        slot = self._best_slot(now_s, ask.only, ask.state)
        assert slot is not None, "served without a token"
        taken = self.allotments.take(ask.state, [(self.slots[slot], 1), *self._wholes(ask.needs)], now_s)
        self._waits_no_more(entry)
        places = {TOKEN: self.slots[slot].take(1, now_s)}
        for name, cost in ask.needs:
            places[name] = self.budgets[name].take(cost, now_s)
        self.flying += 1
        self.in_flight[entry.flow] = self.in_flight.get(entry.flow, 0) + 1
        self.trouble.of(_endpoint(ask.needs)).under_way += 1
        self.counts.granted += 1
        self.counts.waited_s += now_s - ask.arrived_s
        return Grant(entry=entry, slot=slot, places=places, sent_s=now_s, taken=taken)

    def _waits_no_more(self, entry: Entry[Ask]) -> None:
        self.allotments.waits(entry.item.state, -1)
        self._lines.leave(entry.flow, entry.order)

    def _landed(self, flow: str) -> None:
        left = self.in_flight[flow] - 1
        if left:
            self.in_flight[flow] = left
        else:
            del self.in_flight[flow]

    # Learning whose limit the API speaks of

    def _spoken_of(self, grant: Grant, heard: Heard) -> tuple[Budget, Place]:
        """Return the budget that an answer's headers are about: the API names none.

        One whose limit is the announced one, else the one whose own count is nearest to the announced count. Between
        equals a higher limit than the token's is the organisation's, so that a token is never overdrawn by mistake.
        """
        pairs = [(self._budget(name, grant.slot), place) for name, place in grant.places.items()]
        same = [pair for pair in pairs if pair[0].allowed == heard.allowed]
        token = pairs[0][0]
        upward = token.allowed is not None and heard.allowed > token.allowed

        def distance(pair: tuple[Budget, Place]) -> tuple[int, int]:
            budget, place = pair
            preferred = budget.name == ORGANISATION if upward else budget is token
            return (abs(budget.mine_at_most(place) - heard.count), 0 if preferred else 1)

        return min(same or pairs, key=distance)

    def _is_believed(self, budget: Budget, slot: int, heard: Heard) -> bool:
        """Say whether headers are taken at their word: they may raise a token's limit only when they say so steadily.

        An answer that speaks of the organisation's limit looks like a token's while both counts are small. One such
        would double what every token is believed to allow.
        """
        if budget is not self.slots[slot] or budget.allowed is None or heard.allowed <= budget.allowed:
            self._raises.pop(slot, None)
            return True
        allowed, times = self._raises.get(slot, (0, 0))
        times = times + 1 if allowed == heard.allowed else 1
        self._raises[slot] = (heard.allowed, times)
        return times >= _RAISED_BY

    def _blamed(self, grant: Grant, finished: Finished, now_s: float) -> Budget:
        """Return the budget that a 429 is about."""
        self.counts.refused_by_api += 1
        if finished.heard is not None:
            return self._spoken_of(grant, finished.heard)[0]
        endpoint = _endpoint(grant.entry.item.needs)
        whose = self._blame.whose(endpoint, grant.slot, now_s, slots=len(self._open))
        for name in self._blame.pardoned:
            self.budgets[name].pardon()
        if whose is Whose.TOKEN:
            return self.slots[grant.slot]
        return self.budgets[ORGANISATION if whose is Whose.ORGANISATION and ORGANISATION in grant.places else endpoint]

    # Coming back

    def _remember(self, entry: Entry[Ask], wait_s: float, now_s: float) -> None:
        memory = entry.item.memory
        if not memory:
            return
        self._forget(now_s)
        before = self._away.pop(memory, None)  # an identical request of the same flow: one place is kept for both
        if before is not None:
            self._no_longer_away(before)
        self._away[memory] = _Away(entry.flow, entry.order, now_s + wait_s + _AWAY_KEPT_S)
        self._lines.join(entry.flow, entry.order)

    def _came_back(self, ask: Ask) -> float:
        away = self._away.pop(ask.memory, None) if ask.memory else None
        if away is None:
            return self._lines.new_place(ask.arrived_s)
        self._no_longer_away(away)
        return away.order_s

    def _forget(self, now_s: float) -> None:
        while self._away and (len(self._away) >= AWAY_MAX or next(iter(self._away.values())).until_s <= now_s):
            _, away = self._away.popitem(last=False)
            self._no_longer_away(away)

    def _no_longer_away(self, away: _Away) -> None:
        self._lines.leave(away.flow, away.order_s)

    # Estimating

    def _soonest_s(self, now_s: float) -> float:
        """Return the seconds until somebody who waits could go, at least a millisecond."""
        groups = {(entry.item.needs, entry.item.state) for entry in self.turns.entries()}
        return max(min((self._group_wait_s(*group, now_s) for group in groups), default=0.0), 0.001)

    def _group_wait_s(self, needs: tuple[Need, ...], state: str, now_s: float) -> float:
        own_s = max(self._slot_wait_s(state, now_s), self.allotments.wait_s(state, self._wholes(needs), now_s))
        if own_s > 0.0:  # nothing of the other budgets is asked for, which could not be used
            return own_s
        budgets_s = max((self.budgets[name].wait_s(cost, now_s) for name, cost in needs), default=0.0)
        return max(budgets_s, self.trouble.of(_endpoint(needs)).wait_s(now_s))

    def _slot_wait_s(self, state: str, now_s: float) -> float:
        """Return the seconds until some token has room for a request of a state."""
        slots = [self.slots[slot] for slot in self._open]
        waits = (max(slot.wait_s(1, now_s), self.allotments.wait_s(state, [(slot, 1)], now_s)) for slot in slots)
        return min(waits, default=0.0)

    def _rate_of(self, ask: Ask) -> float:
        """Return requests per second that a flow can count on when everybody who waits now goes on waiting."""
        rates = [sum(self.slots[slot].rate_per_s() for slot in self._open) or 1.0]
        rates += [self.budgets[name].rate_per_s() / cost for name, cost in ask.needs if name in self.budgets]
        rate = min(*rates, 1e6)
        weights = {
            each: self.turns.weight(each) for each in Priority if self.turns.waiting(each) or each is ask.priority
        }
        share = weights[ask.priority] / sum(weights.values())
        turns = rate * share / max(self.turns.flows(ask.priority), 1)
        return min(turns, self._allotted_rate(ask))

    def _allotted_rate(self, ask: Ask) -> float:
        """Return what its state's share gives a second; infinite without one."""
        slots = [(self.slots[slot], 1) for slot in self._open]
        of_tokens = sum(self.allotments.rate_per_s(ask.state, [slot]) for slot in slots) if slots else math.inf
        return min(of_tokens, self.allotments.rate_per_s(ask.state, self._wholes(ask.needs)))


def _endpoint(needs: tuple[Need, ...]) -> str:
    """Return the endpoint's own budget: the last of what a request needs, see `Rules.needs`."""
    return needs[-1][0]


def _sample(finished: Finished) -> Sample:
    if finished.withdrawn:
        return Sample.IGNORED
    if finished.status == 0 or finished.status in _SERVER_TROUBLE:
        return Sample.DROPPED
    return Sample.IGNORED if finished.status >= _CLIENT_ERROR else Sample.SUCCESS
