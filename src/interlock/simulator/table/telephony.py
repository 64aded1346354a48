"""Sites with number plans and routes, phone settings, phones, number pools. Pure. Trunks and edges: `edges.py`.

Meta bases (`inin_webrtc_softphone.json` and so on) are the vendor's own: any id is taken, properties are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID, uuid5

from interlock.simulator.answer import Json, Moment, Reply, bad_request, conflict, not_found
from interlock.simulator.call import Call, page
from interlock.simulator.collection import Declared
from interlock.simulator.field import (
    ANY,
    FLAG,
    LIST,
    NAME,
    OBJECT,
    TEXT,
    Field,
    choice,
    fields,
    given,
    held,
    held_all,
    needed,
    once,
    refer_all,
    refers,
    secret,
    usual,
)
from interlock.simulator.org import INBORN, Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import Row, Versioning

HOME_REGION = "us-east-1"
CORE_REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2")
SATELLITE_REGIONS = ("ap-south-1", "me-central-1", "af-south-1")
MAX_PLANS = 100
MAX_NUMBER_DIGITS = 15  # E.164

_PLANS = ("Emergency", "Extension", "National", "International", "Network", "Suicide Prevention")
PROVIDERS = "/telephony/providers/edges"


def telephony_row(kind: str, entity: str, path: str, declared: Mapping[str, Field], **more: object) -> Row:
    """Return a row of this room: they share a version, a state and one permission."""
    shared = {"name": NAME, "description": TEXT, "state": usual(TEXT, "active")}
    usual_things: dict[str, object] = {
        "permission": "telephony:plugin",
        "verbs": ("all", "all", "all", "all"),
        "versioning": Versioning.IF_GIVEN,
        "fields": {**shared, **declared},
        "deleted": 200,
        **more,
    }
    return Row(
        kind=kind,
        entity=entity,
        service="Telephony",
        path=f"{PROVIDERS}/{path}".rstrip("/"),
        **usual_things,  # type: ignore[arg-type]  # the keywords of Row, checked by the test of the table
    )


def _site_shape(call: Call, body: Json, _current: Json | None) -> Json:
    """A site names its location whole; only the id is kept, and it must exist."""
    where = (body.get("location") or {}).get("id")
    if not isinstance(where, str) or call.org.find("location", where) is None:
        raise bad_request("The field 'location' names a location that does not exist", "invalid.reference")
    unknown = [region for region in body["mediaRegions"] if region not in (*CORE_REGIONS, *SATELLITE_REGIONS)]
    if unknown:
        raise bad_request(f"{str(unknown[0])[:40]} is not a media region", "invalid.value")
    return {**body, "location": {"id": where}, "plans": body["plans"] or [_plan(name) for name in _PLANS]}


def _plan(name: str) -> Json:
    return {
        "name": name,
        "id": name.lower().replace(" ", "-"),
        "classification": name,
        "matchType": "intraCountryCode" if name == "National" else "digitLength",
        "state": "active",
        "priority": _PLANS.index(name),
    }


def _guard_default(call: Call, record: Record) -> None:
    if _default_site(call.org).body["site"] == record.id:
        raise conflict("The default site may not be deleted", "default.site")


def _lines_shape(_call: Call, body: Json, current: Json | None) -> Json:
    """Give every line an id and a state; a line that is sent with its id keeps it."""
    lines = [line if isinstance(line, dict) else {} for line in body.get("lines") or []]
    old = (current or {}).get("lines") or []
    named = [
        {"id": line.get("id") or (old[at]["id"] if at < len(old) else f"{body['name']}-line-{at + 1}"), **line}
        for at, line in enumerate(lines)
    ]
    return {
        **body,
        "lines": [{"state": "active", **{k: v for k, v in line.items() if v is not None}} for line in named],
    }


def _phone_shape(call: Call, body: Json, current: Json | None) -> Json:
    shaped = _lines_shape(call, body, current)
    base = call.org.find("phonebase", (body.get("phoneBaseSettings") or {}).get("id") or "")
    if base is None:
        raise bad_request("phoneBaseSettings names settings that do not exist", "invalid.reference")
    shaped.setdefault("phoneMetaBase", base.body["phoneMetaBase"])
    return {**shaped, "phoneBaseSettings": {"id": base.id}}


def _guard_phone_base(call: Call, record: Record) -> None:
    for phone in call.org.living("phone"):
        if phone.body["phoneBaseSettings"]["id"] == record.id:
            raise conflict(f"The settings are in use by the phone {phone.body['name']} ({phone.id})", "in.use")


def _did_shape(call: Call, body: Json, _current: Json | None) -> Json:
    """Two pools may not share a number."""
    first, last = _number(body, "startPhoneNumber"), _number(body, "endPhoneNumber")
    if first > last:
        raise bad_request("endPhoneNumber must not lie before startPhoneNumber", "invalid.range")
    own = call.params[0] if call.params else ""
    for pool in call.org.living("didpool"):
        if (
            pool.id != own
            and first <= _number(pool.body, "endPhoneNumber")
            and _number(pool.body, "startPhoneNumber") <= last
        ):
            raise conflict(f"The pool overlaps the pool {pool.id}", "overlapping.range")
    return {**body, "name": body["startPhoneNumber"]}


def _extension_shape(_call: Call, body: Json, _current: Json | None) -> Json:
    if (
        not body["startNumber"].isdigit()
        or not body["endNumber"].isdigit()
        or int(body["startNumber"]) > int(body["endNumber"])
    ):
        raise bad_request("startNumber and endNumber must be digits in order", "invalid.range")
    return {**body, "name": body["startNumber"]}


def _number(body: Json, name: str) -> int:
    digits = body[name].lstrip("+").replace(" ", "").replace("-", "").replace("(", "").replace(")", "")
    if not digits.isascii() or not digits.isdigit():
        raise bad_request(f"The field '{name}' must be a phone number", "invalid.value")
    return int(digits)


SITES = telephony_row(
    "site",
    "Site",
    "sites",
    {
        "location": needed(OBJECT),
        "mediaModel": once(choice("Cloud", "Premises")),
        "mediaRegionsUseLatencyBased": usual(FLAG, True),
        "mediaRegions": usual(LIST, []),
        "edgeAutoUpdateConfig": OBJECT,
        **fields(TEXT, "callerId callerName"),
        "primarySites": usual(refer_all("site"), []),
        "secondarySites": usual(refer_all("site"), []),
        "managed": given(False),
        "coreSite": given(False),
        "cloudProxyForceTurn": usual(FLAG, False),
        "plans": secret(given([])),
    },
    shape=_site_shape,
    guard=_guard_default,
)
OUTBOUND_ROUTES = telephony_row(
    "outboundroute",
    "OutboundRoute",
    "sites/{site}/outboundroutes",
    {
        "classificationTypes": usual(LIST, []),
        "enabled": usual(FLAG, False),
        "distribution": choice("SEQUENTIAL", "RANDOM"),
        "externalTrunkBases": held_all("trunkbase"),
    },
    parent="site",
)
PHONE_BASES = telephony_row(
    "phonebase",
    "PhoneBase",
    "phonebasesettings",
    {
        "phoneMetaBase": needed(refers()),
        "lines": usual(LIST, []),
        "properties": usual(ANY, {}),
        "capabilities": usual(OBJECT, {}),
    },
    shape=_lines_shape,
    guard=_guard_phone_base,
)
PHONES = telephony_row(
    "phone",
    "Phone",
    "phones",
    {
        "site": needed(held("site")),
        "phoneBaseSettings": needed(OBJECT),
        "lineBaseSettings": refers(),
        "phoneMetaBase": refers(),
        "lines": usual(LIST, []),
        "properties": usual(ANY, {}),
        "capabilities": usual(OBJECT, {}),
        "webRtcUser": held("user"),
        "primaryEdge": refers(),
        "secondaryEdge": refers(),
    },
    shape=_phone_shape,
)
DID_POOLS = telephony_row(
    "didpool",
    "DIDPool",
    "didpools",
    {
        "name": TEXT,
        **fields(NAME, "startPhoneNumber endPhoneNumber"),
        "comments": TEXT,
        "provider": choice("PURE_CLOUD", "PURE_CLOUD_VOICE"),
    },
    shape=_did_shape,
)
EXTENSION_POOLS = telephony_row(
    "extensionpool",
    "ExtensionPool",
    "extensionpools",
    {"name": TEXT, **fields(NAME, "startNumber endNumber")},
    shape=_extension_shape,
)
KINDS = (Kind(name="defaultsite", entity="Organization", service="Directory"),)
ROWS = (SITES, OUTBOUND_ROUTES, PHONE_BASES, PHONES, DID_POOLS, EXTENSION_POOLS)


def routes(_engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of number plans, templates, stations, media regions and the default site."""
    plans, every = PROVIDERS + "/sites/{id}/numberplans", ("telephony:plugin:all",)
    station = "/users/{id}/station/"
    return [
        Route(method="GET", path=plans, handler=_read_plans, permissions=every),
        Route(method="PUT", path=plans, handler=_put_plans, permissions=every),
        Route(method="GET", path=PROVIDERS + "/phonebasesettings/template", handler=_template, permissions=every),
        Route(method="GET", path=PROVIDERS + "/linebasesettings", handler=_list_line_bases, permissions=every),
        Route(method="GET", path=PROVIDERS + "/dids", handler=_list_numbers, permissions=every),
        Route(method="GET", path="/telephony/mediaregions", handler=_regions),
        Route(method="GET", path="/stations", handler=_list_stations),
        Route(method="DELETE", path="/stations/{id}/associateduser", handler=_done),
        Route(method="PUT", path=station + "associatedstation/{station}", handler=_done),
        Route(method="PUT", path=station + "defaultstation/{station}", handler=_done),
        Route(
            method="PUT",
            path="/organizations/me",
            handler=_put_organization,
            permissions=("directory:organization:admin",),
        ),
    ]


def found(org: Organisation, moment: Moment) -> None:
    """Remember that no site is the default one yet."""
    org.add("defaultsite", {"site": "", INBORN: True}, moment)


def default_site_id(org: Organisation) -> str:
    """Return the id of the organisation's default site, empty for none."""
    return str(_default_site(org).body["site"])


def _default_site(org: Organisation) -> Record:
    return next(org.living("defaultsite"))


def _put_organization(call: Call) -> Reply:
    site = call.fields().get("defaultSiteId")
    if isinstance(site, str) and site:
        call.get("site", site)
        record = _default_site(call.org)
        call.org.change(record, {**record.body, "site": site}, call.moment)
    return Reply(content={"id": call.org.id, "defaultSiteId": default_site_id(call.org), "version": 1})


def _read_plans(call: Call) -> Reply:
    return Reply(content=call.get("site", call.params[0]).body["plans"])


def _put_plans(call: Call) -> Reply:
    record = call.get("site", call.params[0])
    plans = call.items(MAX_PLANS)
    if not all(isinstance(plan, dict) and isinstance(plan.get("name"), str) for plan in plans):
        raise bad_request("Each number plan needs a name", "invalid.value")
    kept = [{"id": plan["name"].lower().replace(" ", "-"), "state": "active", **plan} for plan in plans]
    changed = call.org.change(record, {**record.body, "plans": kept}, call.moment)
    return Reply(content=changed.body["plans"])


def _template(call: Call) -> Reply:
    meta = call.request.query.get("phoneMetabaseId") or ""
    if not meta:
        raise not_found("phone meta base", meta)
    line = {"id": f"{meta}-line", "name": "line", "lineMetaBase": {"id": meta.replace(".json", "_line.json")}}
    return Reply(content={"id": f"{meta}-template", "name": meta, "phoneMetaBase": {"id": meta}, "lines": [line]})


def _list_line_bases(call: Call) -> Reply:
    lines = [line for record, body in call.listed("phonebase") for line in body["lines"]]
    return page(call, [{"id": line["id"], "name": line.get("name", ""), "state": line["state"]} for line in lines])


def _list_numbers(call: Call) -> Reply:
    """Numbers of pools that a phone or an IVR has; one that nobody has is only within its pool."""
    wanted = (call.request.query.get("phoneNumber") or "").removeprefix("+")
    return page(
        call, [each for each in _owned_numbers(call) if each["phoneNumber"].removeprefix("+").find(wanted) >= 0]
    )


def _owned_numbers(call: Call) -> Iterator[Json]:
    pools = list(call.listed("didpool"))
    for number, kind, owner in _owners(call):
        for pool, body in pools:
            if _number(body, "startPhoneNumber") <= int(number) <= _number(body, "endPhoneNumber"):
                yield {
                    "id": str(uuid5(UUID(pool.id), number)),
                    "phoneNumber": f"+{number}",
                    "state": "active",
                    "didPool": {"id": pool.id},
                    "owner": {"id": owner},
                    "ownerType": kind,
                }


def _owners(call: Call) -> Iterator[tuple[str, str, str]]:
    """Yield the digits of each number that somebody has, the vendor's word for what has it, and its id."""
    for phone, body in call.listed("phone"):
        for line in body["lines"]:
            yield from ((digits, "PHONE", phone.id) for digits in _digits(_address(line)))
    for ivr, body in call.listed("ivr"):
        yield from ((digits, "IVR_CONFIG", ivr.id) for number in body["dnis"] for digits in _digits(number))


def _address(line: Json) -> object:
    """Return the number that a line of a phone without a user is reached at."""
    value: Any = line.get("properties")
    for name in ("station_identity_address", "value", "instance"):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _digits(number: object) -> Iterator[str]:
    """Yield the digits of a phone number; nothing where it is not one."""
    digits = number.removeprefix("+") if isinstance(number, str) else ""
    if digits.isascii() and digits.isdigit() and len(digits) <= MAX_NUMBER_DIGITS:
        yield digits


def _regions(_call: Call) -> Reply:
    content = {
        "awsHomeRegion": HOME_REGION,
        "awsCoreRegions": list(CORE_REGIONS),
        "awsSatelliteRegions": list(SATELLITE_REGIONS),
    }
    return Reply(content=content)


def _list_stations(call: Call) -> Reply:
    """A phone of a user is a station of the same id."""
    user = call.request.query.get("webRtcUserId")
    found_stations = [
        {"id": record.id, "name": body["name"], "status": "AVAILABLE", "webRtcUserId": body["webRtcUser"]["id"]}
        for record, body in call.listed("phone")
        if "webRtcUser" in body and user in (None, "", body["webRtcUser"]["id"])
    ]
    return page(call, found_stations)


def _done(call: Call) -> Reply:
    call.get("phone", call.params[-1])
    return Reply(status=202)
