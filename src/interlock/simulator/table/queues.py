"""What routing has besides queues and skills: skill groups, labels of utilisation, e-mail domains and routes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.simulator.answer import Json, Moment, Reply, bad_request
from interlock.simulator.call import Call, page
from interlock.simulator.collection import Declared
from interlock.simulator.field import (
    DIVISION,
    FLAG,
    LIST,
    NAME,
    OBJECT,
    TEXT,
    WHOLE,
    fields,
    given,
    held,
    once,
    refer_all,
    refers,
    secret,
    usual,
)
from interlock.simulator.org import Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import Paging, Row

MAX_DIVISIONS_PER_CALL = 500


def _skill_group_view(_call: Call, _record: Record, view: Json) -> Json:
    return {**view, "memberCount": 0, "status": "COMPLETE"}


def _domain_view(_call: Call, record: Record, view: Json) -> Json:
    return {**view, "id": record.id, "name": record.id}


SKILL_GROUPS = Row(
    kind="skillgroup",
    entity="SkillGroup",
    service="Routing",
    path="/routing/skillgroups",
    permission="routing:skillGroup",
    fields={
        "name": NAME,
        "division": DIVISION,
        "description": TEXT,
        "skillConditions": usual(LIST, []),
        "memberDivisions": secret(once(usual(LIST, []))),
    },
    updates=("PATCH",),
    paging=Paging.CURSOR,
    view=_skill_group_view,
)
LABELS = Row(
    kind="utilizationlabel",
    entity="UtilizationLabel",
    service="Routing",
    path="/routing/utilization/labels",
    permission="routing:utilizationLabel",
    fields={"name": NAME},
    stamps=("", ""),
)
DOMAINS = Row(
    kind="emaildomain",
    entity="InboundDomain",
    service="Routing",
    path="/routing/email/domains",
    permission="routing:email",
    verbs=("manage", "view", "manage", "manage"),
    fields={
        "subDomain": once(usual(FLAG, False)),
        "mxRecordStatus": given("VALID"),
        "mailFromSettings": OBJECT,
        "customSMTPServer": refers("integration"),
    },
    updates=("PATCH",),
    unique="",
    own_id="id",
    stamps=("", ""),
    view=_domain_view,
)
ROUTES = Row(
    kind="emailroute",
    entity="InboundRoute",
    service="Routing",
    path="/routing/email/domains/{domain}/routes",
    permission="routing:email",
    verbs=("manage", "view", "manage", "manage"),
    fields={
        "pattern": NAME,
        "queue": refers("queue"),
        "priority": WHOLE,
        "skills": refer_all("skill"),
        "language": refers("language"),
        **fields(TEXT, "fromName fromEmail historyInclusion"),
        "flow": held("flow"),
        "spamFlow": held("flow"),
        **fields(OBJECT, "replyEmailAddress signature"),
        "autoBcc": LIST,
        "allowMultipleActions": FLAG,
    },
    parent="emaildomain",
    unique="pattern",
    stamps=("", ""),
)
SMS_ADDRESSES = Row(
    kind="smsaddress",
    entity="SmsAddress",
    service="Routing",
    path="/routing/sms/addresses",
    permission="sms:phoneNumber",
    verbs=("add", "view", "edit", "delete"),
    operations="CRLD",
    fields={
        "name": TEXT,
        **fields(NAME, "street city region postalCode countryCode"),
        "autoCorrectAddress": secret(FLAG),
        "validated": given(True),
    },
    unique="",
    stamps=("", ""),
)
KINDS: tuple[Kind, ...] = ()
ROWS = (SKILL_GROUPS, LABELS, DOMAINS, ROUTES, SMS_ADDRESSES)


def routes(_engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of member divisions and of the organisation's own utilisation."""
    divisions, view = "/routing/skillgroups/{id}/members/divisions", ("routing:skillGroup:view",)
    return [
        Route(method="GET", path=divisions, handler=_list_divisions, permissions=view),
        Route(method="POST", path=divisions, handler=_change_divisions, permissions=("routing:skillGroup:edit",)),
    ]


def found(_org: Organisation, _moment: Moment) -> None:
    """Do nothing: no organisation is born with any of these."""


def _list_divisions(call: Call) -> Reply:
    held_divisions = call.get("skillgroup", call.params[0]).body["memberDivisions"]
    return page(call, [{"id": division} for division in held_divisions])


def _change_divisions(call: Call) -> Reply:
    record = call.get("skillgroup", call.params[0])
    body = call.fields()
    added, removed = _division_ids(call, body, "addDivisionIds"), _division_ids(call, body, "removeDivisionIds")
    kept = [item for item in record.body["memberDivisions"] if item not in removed]
    held_divisions = list(dict.fromkeys([*kept, *added]))
    call.org.change(record, {**record.body, "memberDivisions": held_divisions}, call.moment, "MemberUpdate")
    return Reply(status=204)


def _division_ids(call: Call, body: Json, name: str) -> list[str]:
    wanted = body.get(name) or []
    if not isinstance(wanted, list) or len(wanted) > MAX_DIVISIONS_PER_CALL:
        raise bad_request(f"{name} must be a list of ids", "invalid.value")
    return [call.get("division", str(item)).id for item in wanted]
