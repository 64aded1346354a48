"""Divisions, products, and what the organisation and the caller are. Pure.

Source: docs/facts/genesys.md#genesys-23, #genesys-30 and #genesys-36.
"""

from __future__ import annotations

from .answer import ApiRefusal, Json, Reply, not_found
from .call import Call, home_division, page, shown, text
from .collection import Collection
from .org import Kind, Organisation, Record
from .routes import Route
from .table.telephony import default_site_id

KINDS = (Kind(name="division", entity="Division", service="PeoplePermissions", limit=1000),)

MAX_MOVED_OBJECTS = 1000

# The vendor's object types in /authorization/divisions/{id}/objects/{type}, and our kinds.
OBJECT_TYPES = {
    "USER": "user",
    "QUEUE": "queue",
    "WRAPUPCODE": "wrapupcode",
    "FLOW": "flow",
    "SCHEDULE": "schedule",
    "SCHEDULEGROUPS": "schedulegroup",
    "IVRS": "ivr",
    "DATATABLES": "datatable",
    "SCRIPT": "script",
}

_PRODUCTS = ("collaborateFree", "engage3", "byoc")


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [
        *DIVISIONS.routes(),
        Route(method="GET", path="/authorization/divisions/home", handler=_home),
        Route(
            method="POST",
            path="/authorization/divisions/{id}/objects/{type}",
            handler=_move,
            permissions=("authorization:division:edit",),
        ),
        Route(method="GET", path="/authorization/products", handler=_products),
        Route(method="GET", path="/authorization/subjects/me", handler=_subject),
        Route(method="GET", path="/organizations/me", handler=_organization),
    ]


def _build(_call: Call, body: Json, current: Json | None) -> Json:
    return {
        "name": text(body, "name", required=True),
        "description": text(body, "description", limit=1000) or "",
        "homeDivision": bool(current and current["homeDivision"]),
    }


def _guard(call: Call, record: Record) -> None:
    """A division with objects in it stays (docs/facts/genesys.md#genesys-36)."""
    if record.body["homeDivision"]:
        raise ApiRefusal(400, "home.division", "The home division may not be deleted.")
    if _is_occupied(call.org, record.id):
        message = f"Scope '{record.id}' may not be deleted because it has objects in it."
        raise ApiRefusal(400, "scope.has.objects", message)


def _is_occupied(org: Organisation, division_id: str) -> bool:
    return any(
        record.body.get("division", {}).get("id") == division_id for kind in org.kinds for record in org.living(kind)
    )


def _home(call: Call) -> Reply:
    home = call.get("division", home_division(call.org))
    return Reply(content=shown(home, home.body))


def _move(call: Call) -> Reply:
    division_id, kind = call.params[0], OBJECT_TYPES.get(call.params[1])
    call.get("division", division_id)
    if kind is None or kind not in call.org.kinds:
        raise not_found("object type", call.params[1])
    for record in [call.get(kind, identifier) for identifier in call.ids(MAX_MOVED_OBJECTS)]:
        if record.body["division"]["id"] != division_id:
            call.org.change(record, {**record.body, "division": {"id": division_id}}, call.moment)
    return Reply(status=204)


def _products(call: Call) -> Reply:
    return page(call, [{"id": product} for product in _PRODUCTS])


def _organization(call: Call) -> Reply:
    content = {
        "id": call.org.id,
        "name": "Simulated Contact Centre",
        "defaultLanguage": "en-us",
        "defaultCountryCode": "US",
        "defaultSiteId": default_site_id(call.org),
        "thirdPartyOrgName": "simulated-contact-centre",
        "domain": "simulated-contact-centre",
        "version": 1,
        "state": "active",
        "deletable": False,
        "productPlatform": "PureCloud",
    }
    return Reply(content=content)


def _subject(call: Call) -> Reply:
    policies = [_policy(permission) for permission in sorted(call.caller.permissions)]
    grant = {
        "subjectId": call.caller.client_id,
        "division": {"id": "*", "name": "All Divisions", "homeDivision": False},
        "role": {"id": call.caller.client_id, "name": "Simulated role", "policies": policies, "default": False},
    }
    return Reply(content={"id": call.caller.client_id, "name": call.caller.client_name, "grants": [grant]})


def _policy(permission: str) -> Json:
    domain, _, rest = permission.partition(":")
    entity, _, action = rest.partition(":")
    return {"domain": domain, "entityName": entity or "*", "actions": [action or "*"]}


DIVISIONS = Collection(
    kind="division",
    path="/authorization/divisions",
    build=_build,
    add="authorization:division:add",
    view="authorization:division:view",
    edit="authorization:division:edit",
    delete="authorization:division:delete",
    guard=_guard,
)
