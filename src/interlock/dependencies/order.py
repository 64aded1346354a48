"""The order of work: waves, the critical path, the API calls, and the parallelism that fits the budget.

The numbers are estimates with their assumptions named; a real run is slower where the API is.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from interlock.dependencies.graph import Graph, Node
from interlock.genesys import calls_of
from interlock.genesys.resources import configure_calls, slowest_step_s

REQUEST_S: Final = 0.25  # one API call of the provider, connection included: it never keeps a connection open
TOKEN_PER_MIN: Final = 300  # calls per token and minute (genesys/data/limits.json, platform.api token rate)
DEFAULT_TOKENS: Final = 10  # token_pool_size when the provider block does not say
TERRAFORM_PARALLELISM: Final = 10  # what Terraform does when nothing is said
_GENESYS: Final = "genesyscloud_"
_QUIET: Final = frozenset({"noop", "move", "remove"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the API allows.

    Attributes:
        tokens: Tokens that the provider holds.
        per_min: Calls per token and minute.
    """

    tokens: int = DEFAULT_TOKENS
    per_min: int = TOKEN_PER_MIN

    @property
    def calls_per_s(self) -> float:
        """All tokens together."""
        return self.tokens * self.per_min / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How an apply of the whole graph, or of the plan, would go.

    Attributes:
        waves: Nodes by wave; everything in a wave could run at once.
        critical_path: The chain that takes longest.
        critical_s: Its time.
        calls: API calls of one apply: starting the provider, the refresh and the changes.
        parallelism: The highest `-parallelism` that helps and stays within the budget.
        widest: Nodes of the widest wave.
        expected_s: Time with that parallelism.
        has_plan: The numbers follow a plan; without one everything is created.
    """

    waves: tuple[tuple[str, ...], ...]
    critical_path: tuple[str, ...]
    critical_s: float
    calls: int
    parallelism: int
    widest: int
    expected_s: float
    has_plan: bool


def plan_order(graph: Graph, budget: Budget) -> Order:
    """Work out the order for a graph within a budget."""
    has_plan = any(node.actions for node in graph.nodes.values())
    effort = {name: _effort(node, has_plan=has_plan) for name, node in graph.nodes.items()}
    seconds = {name: each.seconds for name, each in effort.items()}
    waves, path = graph.waves(), graph.longest_way(lambda name: seconds[name])
    calls = sum(each.calls for each in effort.values()) + _starting(budget)
    widest = max((len(wave) for wave in waves), default=0)
    parallelism = _parallelism(budget, widest)
    busy = _schedule(graph, seconds, parallelism)
    return Order(
        waves=waves,
        critical_path=path,
        critical_s=sum(seconds[name] for name in path),
        calls=calls,
        parallelism=parallelism,
        widest=widest,
        expected_s=max(busy, calls / budget.calls_per_s),
        has_plan=has_plan,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effort:
    calls: int
    seconds: float


def _effort(node: Node, *, has_plan: bool) -> _Effort:
    """Return what the instances of one resource cost. Other providers' resources cost this API nothing."""
    if not node.type.startswith(_GENESYS):
        return _Effort(calls=0, seconds=REQUEST_S)
    actions = node.actions or (("noop",) if has_plan else ("create",)) * node.instances
    calls = sum(_calls(node, action, has_plan=has_plan) for action in actions)
    slowest = max((slowest_step_s(node.type, _step(action)) for action in actions), default=0.0)
    return _Effort(calls=calls, seconds=calls * REQUEST_S + slowest)


def _calls(node: Node, action: str, *, has_plan: bool) -> int:
    """Return the calls of one instance: a refresh when it exists, and the change."""
    cost = calls_of(node.type)
    if node.mode != "managed":
        return cost.read
    refresh = cost.read if has_plan and action != "create" else 0
    match action:
        case "create" | "import":
            return refresh + cost.create
        case "update":
            return refresh + cost.update
        case "delete":
            return refresh + cost.delete
        case "replace":
            return refresh + cost.delete + cost.create
        case _:
            return refresh


def _step(action: str) -> str:
    return {"replace": "create", "import": "create"}.get(action, action)


def _starting(budget: Budget) -> int:
    """Calls before the first resource: each start of the provider mints its tokens and reads the organisation."""
    start = configure_calls()
    return start.walks_of_an_apply * (start.api + 1 + budget.tokens)


def _parallelism(budget: Budget, widest: int) -> int:
    """Return how many workers the budget feeds: each makes one call after the other, and each holds one token."""
    fed = int(budget.calls_per_s * REQUEST_S)
    return max(1, min(fed, budget.tokens, widest or 1))


def _schedule(graph: Graph, seconds: Mapping[str, float], workers: int) -> float:
    """Return when the last node is done if `workers` take ready nodes in order; a knot is taken wave by wave."""
    wave_of = {name: number for number, wave in enumerate(graph.waves()) for name in wave}
    left = {name: sum(wave_of[need] < wave_of[name] for need in graph.needs(name)) for name in wave_of}
    ready = sorted((name for name, count in left.items() if not count), key=lambda name: -seconds[name])
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            name = ready.pop(0)
            heapq.heappush(running, (now + seconds[name], name))
        now, done = heapq.heappop(running)
        for follower in graph.needed_by(done):
            if wave_of[done] < wave_of[follower]:
                left[follower] -= 1
                if not left[follower]:
                    ready.append(follower)
    return now
