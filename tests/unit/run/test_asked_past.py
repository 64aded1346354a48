import pytest

from interlock.errors import UsageError
from interlock.run.asked_past import check_changes, check_reads, read_asking
from interlock.run.order import Operation, Order
from interlock.terraform.events import Action, PlannedChange, Resource
from interlock.terraform.plan import PlanFacts

SCRIPT, CONTACTS = "genesyscloud_script", "genesyscloud_outbound_contact_list"


def facts(*changes: tuple[str, Action]) -> PlanFacts:
    return PlanFacts(
        changes=tuple(
            PlannedChange(resource=Resource(address=f"{kind}.a", type=kind, name="a"), action=action)
            for kind, action in changes
        )
    )


@pytest.mark.parametrize(
    ("kind", "action", "asks"),
    [
        (SCRIPT, Action.CREATE, True),
        (SCRIPT, Action.DELETE, True),
        (SCRIPT, Action.NOOP, False),
        (CONTACTS, Action.UPDATE, True),
        (CONTACTS, Action.DELETE, False),
        ("genesyscloud_flow", Action.CREATE, False),
        ("genesyscloud_architect_user_prompt", Action.CREATE, False),
        ("genesyscloud_routing_skill", Action.CREATE, False),
    ],
)
def test_a_change_asks_past_the_gateway_as_the_table_says_also_where_the_plan_cannot_be_read(
    kind: str, action: Action, asks: bool
) -> None:
    assert read_asking(b"encrypted", facts((kind, action))) == ({f"{kind}.a": ""} if asks else {})


@pytest.mark.promise("P8")
def test_only_what_uses_the_servers_client_is_refused_and_named_with_a_way_out() -> None:
    order = Order(run="r", operation=Operation.APPLY, directory="m", state="team/a", who="a", home="/h")
    asked = {f"{SCRIPT}.{name}": alias for name, alias in (("a", ""), ("b", "own"), ("c", "eu"))}
    check_changes({f"{SCRIPT}.b": "own"}, {"", "eu"}, order, "acme")
    with pytest.raises(UsageError) as refused:
        check_changes(asked, {"", "eu"}, order, "acme")
    assert refused.value.what == f"{SCRIPT}.a, {SCRIPT}.c cannot work at this server; nothing was changed"
    assert "acme" in str(refused.value.why)
    assert f"interlock apply --state {order.state}" in str(refused.value.fix)
    check_reads((), order, "acme")
    with pytest.raises(UsageError, match="nothing was planned"):
        check_reads(("data.genesyscloud_flow.f",), order, "acme")
