from interlock.dependencies import Budget, Edge, Kind, Node, build_graph, find_impact, find_races, plan_order
from interlock.dependencies.order import REQUEST_S
from interlock.genesys import calls_of

QUEUE, SKILL, FLOW, USER = (f"genesyscloud_{kind}" for kind in ("routing_queue", "routing_skill", "flow", "user"))


def node(name: str, kind: str, *actions: str) -> Node:
    return Node(
        id=name,
        root=".",
        address=name,
        module="",
        mode="managed",
        type=kind,
        name=name,
        actions=actions,
        instances=max(1, len(actions)),
    )


def needs(source: str, target: str, *, hidden: bool = False) -> Edge:
    return Edge(source=source, target=target, kind=Kind.NAME, hidden=hidden, evidence="seen")


def test_without_a_plan_everything_is_created() -> None:
    order = plan_order(build_graph([node("s", SKILL)], []), Budget(tokens=1, per_min=300))
    assert not order.has_plan
    assert order.calls == calls_of(SKILL).create + 2 * (2 + 1 + 1)


def test_with_a_plan_only_its_changes_and_the_refresh_cost() -> None:
    graph = build_graph([node("s", SKILL, "noop"), node("q", QUEUE, "update", "delete")], [])
    order = plan_order(graph, Budget(tokens=1))
    costs = calls_of(QUEUE)
    assert order.has_plan
    assert order.calls == calls_of(SKILL).read + 2 * costs.read + costs.update + costs.delete + 8


def test_resources_of_other_providers_cost_this_api_nothing() -> None:
    assert plan_order(build_graph([node("a", "aws_s3_bucket")], []), Budget(tokens=1)).calls == 8


def test_the_parallelism_stays_within_tokens_budget_and_width() -> None:
    wide = build_graph([node(f"s{number}", SKILL) for number in range(40)], [])
    assert plan_order(wide, Budget(tokens=10, per_min=300)).parallelism == 10
    assert plan_order(wide, Budget(tokens=1, per_min=300)).parallelism == 1
    assert plan_order(wide, Budget(tokens=10, per_min=60)).parallelism == int(10 * REQUEST_S)
    assert plan_order(build_graph([node("s", SKILL)], []), Budget()).parallelism == 1


def test_the_critical_path_is_the_slowest_chain() -> None:
    graph = build_graph(
        [node("skill", SKILL), node("queue", QUEUE), node("flow", FLOW)],
        [needs("queue", "skill"), needs("flow", "queue")],
    )
    order = plan_order(graph, Budget())
    assert order.critical_path == ("skill", "queue", "flow")
    assert order.critical_s > 15
    assert order.expected_s >= order.critical_s


def test_the_budget_bounds_the_time_of_a_wide_plan() -> None:
    wide = build_graph([node(f"u{number}", USER) for number in range(300)], [])
    order = plan_order(wide, Budget(tokens=1, per_min=300))
    assert order.expected_s >= order.calls / 5


def test_a_circle_does_not_stop_the_estimate() -> None:
    graph = build_graph([node("a", SKILL), node("b", SKILL)], [needs("a", "b"), needs("b", "a")])
    assert plan_order(graph, Budget()).expected_s > 0


def test_impact_says_who_is_affected_and_where_terraform_is_blind() -> None:
    graph = build_graph(
        [node("skill", SKILL), node("queue", QUEUE), node("flow", FLOW)],
        [needs("queue", "skill"), needs("flow", "queue", hidden=True)],
    )
    impact = find_impact(graph, "skill")
    assert [(each.node, each.is_silent) for each in impact.affected] == [("queue", False), ("flow", True)]
    assert find_impact(graph, "queue").warning
    assert find_impact(graph, "nobody").affected == ()


def test_hidden_edges_are_races_with_the_answer_of_the_api() -> None:
    division, schedules, groups = (
        f"genesyscloud_{kind}" for kind in ("auth_division", "architect_schedules", "architect_schedulegroups")
    )
    graph = build_graph(
        [node("d", division), node("s", schedules), node("g", groups)],
        [needs("g", "s", hidden=True), needs("s", "d")],
    )
    (race,) = find_races(graph)
    assert (race.first, race.second) == ("s", "g")
    assert "409" in race.why
