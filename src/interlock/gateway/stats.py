"""What a gateway is doing, as plain values: for metrics, the dashboard and tests. No secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStats:
    """One budget.

    Attributes:
        name: `token-<slot>`, `organisation`, a limit's name, or a method and endpoint.
        allowed: Requests in a window; None when no limit is known.
        window_s: Its length.
        occupied: Requests that count now.
        blocked_s: For how long a refusal closes it.
        refusals: 429s of the API that were about it.
    """

    name: str
    allowed: int | None
    window_s: float
    occupied: int
    blocked_s: float
    refusals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStats:
    """One run (`r/<id>`) or client (`c/<name>`)."""

    flow: str
    waiting: int
    in_flight: int
    served: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One snapshot. Counts are totals since the start unless they say "now".

    Attributes:
        budgets: Every budget now.
        flows: Every flow.
        waiting: Requests that wait now, by class.
        runs: Runs that may call now.
        in_flight: Calls under way now.
        in_flight_limit: The adaptive limit now.
        tokens_ready: Upstream tokens that can be used now.
        tokens_wanted: How many the demand asked for.
        tokens_minted: Tokens obtained.
        mint_failures: Token requests that failed.
        login_fault: Why no token comes now; empty when all is well.
        calls: Requests of clients, of every kind.
        sent: Calls sent to the API.
        waited_s: Seconds that sent calls had waited, together.
        told_to_come_back: Requests answered with 429 here.
        refused_by_api: 429s of the API.
        refused_here: Requests refused for what they are.
        fenced: Calls of runs that were no longer current.
        retries: Attempts after a failure.
        replayed_401: Calls sent again with a fresh token.
        unknown_outcomes: Writes whose reply was lost.
        unreachable: Calls given up because the API could not be reached.
        shared_reads: GETs that shared a call.
        adopted_writes: Writes that a returning client found already under way or done.
        abandoned_writes: Writes without a client now, under way or with an answer that is kept.
        sharing_fault: Why budgets cannot be shared now; empty when all is well.
        shared_swaps: Writes to a ledger that is common to several machines.
        statuses: Answers of calls by HTTP status.
    """

    budgets: tuple[BudgetStats, ...]
    flows: tuple[FlowStats, ...]
    waiting: Mapping[str, int]
    runs: int
    in_flight: int
    in_flight_limit: int
    tokens_ready: int
    tokens_wanted: int
    tokens_minted: int
    mint_failures: int
    login_fault: str
    calls: int
    sent: int
    waited_s: float
    told_to_come_back: int
    refused_by_api: int
    refused_here: int
    fenced: int
    retries: int
    replayed_401: int
    unknown_outcomes: int
    unreachable: int
    shared_reads: int
    adopted_writes: int
    abandoned_writes: int
    sharing_fault: str
    shared_swaps: int
    statuses: Mapping[int, int]
