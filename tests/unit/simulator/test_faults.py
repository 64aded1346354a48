from interlock.simulator import FaultKind, FaultRule
from interlock.simulator.chance import Chance
from interlock.simulator.faults import FaultPlan


def plan(*rules: FaultRule, seed: int = 1) -> FaultPlan:
    return FaultPlan(rules, chance=Chance(seed))


def hits(faults: FaultPlan, count: int, method: str = "GET", path: str = "/api/v2/users") -> list[bool]:
    return [faults.choose(method, path) is not None for _ in range(count)]


def test_a_rate_hits_its_share_and_the_same_requests_with_the_same_seed() -> None:
    rule = FaultRule(kind=FaultKind.RESET, rate=0.2)
    first = hits(plan(rule), 5000)
    assert first == hits(plan(rule), 5000)
    assert first != hits(plan(rule, seed=2), 5000)
    assert 0.17 < sum(first) / 5000 < 0.23


def test_every_hits_each_nth_and_times_ends_it() -> None:
    rule = FaultRule(kind=FaultKind.SERVER_ERROR, every=2, times=2)
    assert hits(plan(rule), 8) == [False, True, False, True, False, False, False, False]


def test_a_rule_hits_only_its_method_and_path() -> None:
    faults = plan(FaultRule(kind=FaultKind.HANG, method="POST", path="/routing/"))
    assert faults.choose("GET", "/api/v2/routing/queues") is None
    assert faults.choose("POST", "/api/v2/users") is None
    assert faults.choose("POST", "/api/v2/routing/queues") is not None


def test_a_login_fault_hits_the_token_endpoint_alone_and_others_spare_it() -> None:
    login, reset = FaultRule(kind=FaultKind.LOGIN_LIMIT), FaultRule(kind=FaultKind.RESET)
    assert hits(plan(login), 1, "POST", "/oauth/token") == [True]
    assert hits(plan(login), 1) == [False]
    assert hits(plan(reset), 1, "POST", "/oauth/token") == [False]


def test_the_first_rule_that_hits_wins_and_replacing_starts_afresh() -> None:
    faults = plan(FaultRule(kind=FaultKind.RESET, times=1), FaultRule(kind=FaultKind.DRIP))
    kinds = [rule.kind for _ in range(2) if (rule := faults.choose("GET", "/x")) is not None]
    assert kinds == [FaultKind.RESET, FaultKind.DRIP]
    assert faults.hits == {"reset": 1, "drip": 1}
    faults.replace([])
    assert hits(faults, 3) == [False, False, False]
