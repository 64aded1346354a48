"""Edges and their groups, trunk settings, and the trunks that an assignment of settings makes. Pure.

A trunk has no life of its own: it is there as long as an edge or a group of edges is assigned its settings, and what a
client changes is the assignment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import UUID, uuid5

from interlock.simulator.answer import Json, Moment, Reply, bad_request, conflict, not_found
from interlock.simulator.call import Call, named, page, reference
from interlock.simulator.collection import Declared
from interlock.simulator.field import (
    ANY,
    FLAG,
    LIST,
    OBJECT,
    TEXT,
    choice,
    fields,
    given,
    held,
    held_all,
    needed,
    once,
    refers,
    usual,
)
from interlock.simulator.org import Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import Row

from .telephony import PROVIDERS, telephony_row

_ASSIGNMENT = "edgeTrunkBaseAssignment"


def _assignment(call: Call, group: Json, current: Json | None) -> Json:
    """Return the assignment of trunk settings to a group or an edge; a write that names none keeps it (ours)."""
    named_now = group.get(_ASSIGNMENT)
    if named_now is None:
        kept = (current or {}).get(_ASSIGNMENT)
        return {} if kept is None else {_ASSIGNMENT: kept}
    if not isinstance(named_now, dict):
        raise bad_request(f"The field '{_ASSIGNMENT}' must be an object", "invalid.value")
    base = reference(call, named_now, "trunkBase", "trunkbase")
    return {} if base is None else {_ASSIGNMENT: {"trunkBase": base}}


def _group_shape(call: Call, body: Json, current: Json | None) -> Json:
    return {**body, **_assignment(call, body, current)}


def _edge_shape(call: Call, body: Json, current: Json | None) -> Json:
    """An edge names its group whole; only the id and the assignment are kept."""
    group = body.get("edgeGroup")
    if group is None:
        return body
    kept = _assignment(call, group, (current or {}).get("edgeGroup"))
    where = group.get("id")
    if where is None:
        return {**body, "edgeGroup": kept}
    if not isinstance(where, str) or call.org.find("edgegroup", where) is None:
        raise bad_request("The field 'edgeGroup' names a group that does not exist", "invalid.reference")
    return {**body, "edgeGroup": {"id": where, **kept}}


def _guard_group(call: Call, record: Record) -> None:
    for edge in call.org.living("edge"):
        if edge.body.get("edgeGroup", {}).get("id") == record.id:
            raise conflict(f"The edge group is in use by the edge {edge.body['name']} ({edge.id})", "in.use")


def _guard_base(call: Call, record: Record) -> None:
    for kind in _ASSIGNABLE:
        for owner in call.org.living(kind):
            if record.id in _assigned(kind, owner.body):
                name = owner.body["name"]
                raise conflict(f"The settings are in use by the {kind} {name} ({owner.id})", "in.use")


def _assigned(kind: str, body: Json) -> list[str]:
    """Return the ids of the settings from which an edge or a group has trunks."""
    own = body.get("edgeGroup", {}) if kind == "edge" else body
    bases = [own[_ASSIGNMENT]["trunkBase"]] if _ASSIGNMENT in own else []
    return list(dict.fromkeys(base["id"] for base in (*bases, *own.get("phoneTrunkBases", ()))))


EDGES = telephony_row(
    "edge",
    "Edge",
    "",
    {
        "site": held("site"),
        "edgeGroup": OBJECT,
        "interfaces": usual(LIST, []),
        **fields(TEXT, "make model proxy"),
        "edgeDeploymentType": once(choice("HARDWARE", "LDM", "CDM")),
        "physicalEdge": usual(FLAG, True),
        "managed": usual(FLAG, False),
        "onlineStatus": given("ONLINE"),
        "statusCode": given("ACTIVE"),
        "callDrainingState": given("NONE"),
    },
    shape=_edge_shape,
)
EDGE_GROUPS = telephony_row(
    "edgegroup",
    "EdgeGroup",
    "edgegroups",
    {
        "managed": usual(FLAG, False),
        "hybrid": usual(FLAG, False),
        _ASSIGNMENT: OBJECT,
        "phoneTrunkBases": held_all("trunkbase"),
    },
    shape=_group_shape,
    guard=_guard_group,
)
TRUNK_BASES = telephony_row(
    "trunkbase",
    "TrunkBase",
    "trunkbasesettings",
    {
        "trunkMetabase": needed(refers()),
        "trunkType": choice("EXTERNAL", "PHONE", "EDGE"),
        "managed": usual(FLAG, False),
        "properties": usual(ANY, {}),
        "site": refers("site"),
        "inboundSite": held("site"),
    },
    guard=_guard_base,
)
KINDS: tuple[Kind, ...] = ()
ROWS: tuple[Row, ...] = (EDGES, EDGE_GROUPS, TRUNK_BASES)

_ASSIGNABLE = {"edgegroup": "edgeGroup", "edge": "edge"}
"""Kinds to which settings are assigned, and the field in which a trunk names the one it is on."""


def routes(_engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of trunks."""
    every = ("telephony:plugin:all",)
    return [
        Route(method="GET", path=PROVIDERS + "/trunks", handler=_list_trunks, permissions=every),
        Route(method="GET", path=PROVIDERS + "/trunks/{id}", handler=_read_trunk, permissions=every),
    ]


def found(_org: Organisation, _moment: Moment) -> None:
    """Do nothing: an organisation is born without edges."""


def _list_trunks(call: Call) -> Reply:
    return page(call, named(call, _trunks(call, call.org.delays.list_s)))


def _read_trunk(call: Call) -> Reply:
    for trunk in _trunks(call, call.org.delays.read_s):
        if trunk["id"] == call.params[0]:
            return Reply(content=trunk)
    raise not_found("trunk", call.params[0])


def _trunks(call: Call, delay_s: float) -> Iterator[Json]:
    """Yield the trunks that a reader sees who lags so far behind."""
    for kind, field in _ASSIGNABLE.items():
        for owner in call.org.living(kind):
            for base in _assigned(kind, owner.seen(call.moment, delay_s) or {}):
                yield _trunk(call.org.get("trunkbase", base), field, owner.id)


def _trunk(base: Record, field: str, owner: str) -> Json:
    """Return the trunk of some settings on an edge or a group; its id follows from both."""
    identifier = str(uuid5(UUID(owner), base.id))
    return {
        "id": identifier,
        "name": base.body["name"],
        "state": "active",
        "trunkType": base.body["trunkType"],
        "trunkBase": {"id": base.id},
        "trunkMetabase": base.body["trunkMetabase"],
        field: {"id": owner},
        "enabled": True,
        "inService": True,
        "selfUri": f"/api/v2{PROVIDERS}/trunks/{identifier}",
    }
