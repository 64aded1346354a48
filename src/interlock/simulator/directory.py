"""Users with their skills and languages, groups with their members. Pure.

Source: docs/facts/genesys.md#genesys-31 and #genesys-32.

A deleted user is never gone: it keeps its id, is found by a search for deleted users, and can be revived.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .answer import ApiRefusal, Json, Moment, Reply, bad_request, conflict, not_found
from .call import Call, check_version, division, one_of, page, reference, references, shown, text
from .collection import Collection
from .org import Kind, Organisation, Record, VersionForm
from .routes import Route
from .search import clauses, found, searched

KINDS = (
    Kind(
        name="user",
        entity="User",
        service="Directory",
        version=VersionForm.NUMBER,
        keeps_deleted=True,
        unique="email",
        limit=50_000,
    ),
    Kind(name="group", entity="Group", service="Directory", version=VersionForm.NUMBER),
)

MAX_BULK_ITEMS = 50
MAX_GROUP_MEMBERS_PER_CALL = 50
MAX_PASSWORD_LENGTH = 1000
MAX_PROFICIENCY = 5

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_GROUP_TYPES = ("official", "social")
_VISIBILITIES = ("public", "owners", "members")
_USER_STATES = ("active", "inactive", "deleted")
_USER_TEXTS = ("title", "department")
_USER_KEPT = ("addresses", "locations", "acdAutoAnswer", "certifications", "employerInfo", "profileSkills")
_PARTS = ("skills", "languages", "utilization", "voicemail", "individuals")  # served by their own paths
_EXPANDED = ("skills", "languages", "locations", "profileSkills", "certifications", "employerInfo")
_DEFAULT_UTILIZATION = {"level": "Organization"}


def routes() -> list[Route]:
    """Return the routes of this module."""
    return [*_user_routes(), *_skill_routes("skill"), *_skill_routes("language"), *_group_routes()]


def _user_routes() -> list[Route]:
    view, edit = ("directory:user:view",), ("directory:user:edit",)
    utilization, voicemail = "/routing/users/{id}/utilization", "/voicemail/userpolicies/{id}"
    return [
        Route(method="POST", path="/users/search", handler=_search_users, permissions=view),
        Route(method="POST", path="/users", handler=_create_user, permissions=("directory:user:add",)),
        Route(method="GET", path="/users", handler=_list_users, permissions=view),
        Route(method="GET", path="/users/{id}", handler=_read_user, permissions=view),
        Route(method="PATCH", path="/users/{id}", handler=_update_user, permissions=edit),
        Route(method="DELETE", path="/users/{id}", handler=_delete_user, permissions=("directory:user:delete",)),
        Route(method="POST", path="/users/{id}/password", handler=_set_password, permissions=edit),
        Route(method="PUT", path="/users/{id}/profileskills", handler=_put_profile_skills, permissions=edit),
        Route(method="GET", path=utilization, handler=_read_utilization, permissions=("routing:utilization:view",)),
        Route(method="PUT", path=utilization, handler=_put_utilization, permissions=("routing:utilization:manage",)),
        Route(
            method="DELETE", path=utilization, handler=_drop_utilization, permissions=("routing:utilization:manage",)
        ),
        Route(method="GET", path=voicemail, handler=_read_user_voicemail),
        Route(method="PATCH", path=voicemail, handler=_patch_user_voicemail),
    ]


def _skill_routes(kind: str) -> list[Route]:
    path = "/users/{id}/routing" + kind + "s"
    rated = _Rated(kind)
    return [
        Route(method="GET", path=path, handler=rated.list, permissions=("routing:skill:assign", "directory:user:view")),
        Route(method="PATCH", path=path + "/bulk", handler=rated.add, permissions=("routing:skill:assign",)),
        Route(method="DELETE", path=path + "/{rated}", handler=rated.drop, permissions=("routing:skill:assign",)),
    ]


def _group_routes() -> list[Route]:
    members, policy = "/groups/{id}/members", "/voicemail/groups/{id}/policy"
    edit = ("directory:group:edit",)
    return [
        *GROUPS.routes(),
        Route(method="POST", path="/groups/search", handler=_search_groups, permissions=("directory:group:view",)),
        Route(method="GET", path="/groups/{id}/individuals", handler=_list_individuals),
        Route(method="GET", path=members, handler=_list_individuals),
        Route(method="POST", path=members, handler=_add_members, permissions=edit),
        Route(method="DELETE", path=members, handler=_drop_members, permissions=edit),
        Route(method="GET", path=policy, handler=_read_group_voicemail),
        Route(method="PATCH", path=policy, handler=_patch_group_voicemail, permissions=edit),
    ]


def _build_user(call: Call, body: Json, current: Json | None) -> Json:
    given = {**current, **{name: value for name, value in body.items() if value is not None}} if current else body
    email = text(given, "email", required=True)
    if email is None or _EMAIL.fullmatch(email) is None:
        raise bad_request("The field 'email' must be an e-mail address", "invalid.value")
    return {
        "name": text(given, "name", required=True),
        "email": email,
        "state": one_of(given, "state", _USER_STATES),
        "division": division(call, body, current),
        **{name: value for name in _USER_TEXTS if (value := text(given, name)) is not None},
        **{name: given[name] for name in _USER_KEPT if given.get(name) is not None},
        **_manager(call, given),
        **({part: current[part] for part in _PARTS if part in current} if current else _new_parts()),
    }


def _manager(call: Call, given: Json) -> Json:
    manager = given.get("manager")
    if manager in (None, "", {"id": ""}):
        return {}
    return {"manager": reference(call, given, "manager", "user")}


def _new_parts() -> Json:
    return {"skills": {}, "languages": {}, "utilization": _DEFAULT_UTILIZATION, "voicemail": {"enabled": True}}


def _create_user(call: Call) -> Reply:
    body = _build_user(call, call.fields(), None)
    if any(grave.body["email"].casefold() == body["email"].casefold() for grave in call.org.graves("user")):
        raise conflict("A deleted user has this e-mail address; restore it instead")
    record = call.org.add("user", body, call.moment)
    return Reply(content=_user_view(call, record, body))


def _list_users(call: Call) -> Reply:
    return page(call, [_user_view(call, record, body) for record, body in call.listed("user")])


def _read_user(call: Call) -> Reply:
    if call.request.query.get("state") == "deleted":
        deleted = call.org.find_deleted("user", call.params[0])
        if deleted is None:
            raise not_found("user", call.params[0])
        return Reply(content=_user_view(call, deleted, {**deleted.body, "state": "deleted"}))
    return Reply(content=_user_view(call, *call.read("user", call.params[0])))


def _update_user(call: Call) -> Reply:
    given = call.fields()
    deleted = call.org.find_deleted("user", call.params[0])
    if deleted is not None and given.get("state") in {"active", "inactive"}:
        check_version(deleted, given)
        revived = call.org.revive(deleted, {**deleted.body, **_new_parts(), "state": given["state"]}, call.moment)
        return Reply(content=_user_view(call, revived, revived.body))
    record = call.get("user", call.params[0])
    check_version(record, given)
    changed = call.org.change(record, _build_user(call, given, record.body), call.moment)
    return Reply(content=_user_view(call, changed, changed.body))


def _delete_user(call: Call) -> Reply:
    record = call.get("user", call.params[0])
    call.org.remove(record, call.moment)
    _forget_member(call.org, record.id, call.moment)
    return Reply(content={})


def _forget_member(org: Organisation, user_id: str, moment: Moment) -> None:
    for queue in [queue for queue in org.living("queue") if user_id in queue.body["members"]]:
        members = {member: ring for member, ring in queue.body["members"].items() if member != user_id}
        org.change(queue, {**queue.body, "members": members}, moment, "MemberUpdate")
    for group in [group for group in org.living("group") if user_id in group.body["individuals"]]:
        individuals = [member for member in group.body["individuals"] if member != user_id]
        org.change(group, {**group.body, "individuals": individuals}, moment, "MemberUpdate")


def _user_view(call: Call, record: Record, body: Json) -> Json:
    wanted = set((call.request.query.get("expand") or "").split(","))
    hidden = {*_PARTS, *(name for name in _EXPANDED if name not in wanted)}
    view = shown(record, {name: value for name, value in body.items() if name not in hidden})
    view.setdefault("addresses", [])
    for kind in ("skill", "language"):
        if kind + "s" in wanted:
            view[kind + "s"] = _rated(call, kind, body)
    for name in _EXPANDED[2:]:
        if name in wanted and name != "employerInfo":
            view.setdefault(name, [])
    return view


def _search_users(call: Call) -> Reply:
    """Clauses on e-mail, name, id or state; without a clause on the state only living users are searched."""
    wanted = clauses(call)
    asks_state = any("state" in clause.fields for clause in wanted)
    results = [
        _user_view(call, record, body)
        for record, body in _searched(call)
        if all(clause.holds({**body, "id": record.id}) for clause in wanted)
        and (body["state"] != "deleted" or asks_state)
    ]
    return found(results)


def _searched(call: Call) -> Iterator[tuple[Record, Json]]:
    yield from call.listed("user")
    for grave in call.org.graves("user"):
        if grave.seen(call.moment, call.org.delays.list_s) is None:
            yield grave, {**grave.body, "state": "deleted"}


def _set_password(call: Call) -> Reply:
    call.get("user", call.params[0])
    text(call.fields(), "newPassword", required=True, limit=MAX_PASSWORD_LENGTH)
    return Reply(status=204)  # nothing is kept


def _put_profile_skills(call: Call) -> Reply:
    record = call.get("user", call.params[0])
    skills = [str(item)[:100] for item in call.items()]
    call.org.change(record, {**record.body, "profileSkills": skills}, call.moment)
    return Reply(content=skills)


def _read_utilization(call: Call) -> Reply:
    return Reply(content=call.get("user", call.params[0]).body["utilization"])


def _put_utilization(call: Call) -> Reply:
    return _set_utilization(call, {"level": "Agent", **call.fields()})


def _drop_utilization(call: Call) -> Reply:
    _set_utilization(call, _DEFAULT_UTILIZATION)
    return Reply(status=204)


def _set_utilization(call: Call, utilization: Json) -> Reply:
    record = call.get("user", call.params[0])
    if record.body["utilization"] != utilization:
        call.org.change(record, {**record.body, "utilization": utilization}, call.moment)
    return Reply(content=utilization)


def _read_user_voicemail(call: Call) -> Reply:
    return _voicemail(call, "user", {})


def _patch_user_voicemail(call: Call) -> Reply:
    return _voicemail(call, "user", call.fields())


def _read_group_voicemail(call: Call) -> Reply:
    return _voicemail(call, "group", {})


def _patch_group_voicemail(call: Call) -> Reply:
    return _voicemail(call, "group", call.fields())


def _voicemail(call: Call, kind: str, given: Json) -> Reply:
    record = call.get(kind, call.params[0])
    policy = {**record.body["voicemail"], **given}
    if policy != record.body["voicemail"]:
        call.org.change(record, {**record.body, "voicemail": policy}, call.moment)
    return Reply(content=policy)


class _Rated:
    """The skills or languages of a user, each with a proficiency."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._part = kind + "s"

    def list(self, call: Call) -> Reply:
        return page(call, _rated(call, self._kind, call.get("user", call.params[0]).body))

    def add(self, call: Call) -> Reply:
        record = call.get("user", call.params[0])
        rated = dict(record.body[self._part])
        for item in call.items(MAX_BULK_ITEMS):
            if not isinstance(item, dict):
                raise bad_request("Each item needs an id and a proficiency", "invalid.value")
            named = reference(call, {self._kind: item}, self._kind, self._kind) or {}
            rated[named["id"]] = _proficiency(item)
        changed = call.org.change(record, {**record.body, self._part: rated}, call.moment)
        return page(call, _rated(call, self._kind, changed.body))

    def drop(self, call: Call) -> Reply:
        record = call.get("user", call.params[0])
        rated = dict(record.body[self._part])
        if rated.pop(call.params[1], None) is None:
            raise not_found(self._kind, call.params[1])
        call.org.change(record, {**record.body, self._part: rated}, call.moment)
        return Reply(status=204)


def _proficiency(item: Json) -> float:
    """Return a proficiency; the provider sends whole and fractional ones, from 0 to 5."""
    value = item.get("proficiency") or 0
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_PROFICIENCY:
        raise bad_request(f"The field 'proficiency' must be a number from 0 to {MAX_PROFICIENCY}", "invalid.value")
    return int(value) if value == int(value) else value


def _rated(call: Call, kind: str, body: Json) -> list[Json]:
    """Return what a user has; a deleted skill is skipped, as after its soft delete.

    Source: docs/facts/genesys.md#genesys-37.
    """
    found = [(call.org.find(kind, identifier), level) for identifier, level in body[kind + "s"].items()]
    return [
        {"id": record.id, "name": record.body["name"], "proficiency": float(level), "state": "active"}
        for record, level in found
        if record is not None
    ]


def _build_group(call: Call, body: Json, current: Json | None) -> Json:
    given = body.get("ownerIds") or []
    if not isinstance(given, list):
        raise bad_request("ownerIds must be a list of ids", "invalid.value")
    blank = [owner for owner in given if isinstance(owner, str) and not owner.strip()]  # sent for no owner
    owners = references(call, {"ownerIds": [owner for owner in given if owner not in blank]}, "ownerIds", "user")
    return {
        "name": text(body, "name", required=True),
        "description": text(body, "description", limit=1000) or "",
        "type": one_of(body, "type", _GROUP_TYPES) if body.get("type") or not current else current["type"],
        "visibility": one_of(body, "visibility", _VISIBILITIES),
        "rulesVisible": bool(body.get("rulesVisible", True)),
        "addresses": body.get("addresses") or [],
        "rolesEnabled": bool(body.get("rolesEnabled", False)),
        "callsEnabled": bool(body.get("callsEnabled", False)),
        "includeOwners": bool(body.get("includeOwners", False)),
        "state": "active",
        "owners": owners,
        "individuals": current["individuals"] if current else [],
        "voicemail": current["voicemail"] if current else {"enabled": False},
    }


class _Groups(Collection):
    """Groups answer without their parts."""

    def create(self, call: Call) -> Reply:
        return _without_parts(super().create(call))

    def read(self, call: Call) -> Reply:
        return _without_parts(super().read(call))

    def update(self, call: Call) -> Reply:
        return _without_parts(super().update(call))


def _without_parts(reply: Reply) -> Reply:
    parts = {"individuals": reply.content.pop("individuals"), "voicemail": reply.content.pop("voicemail")}
    reply.content["memberCount"] = len(parts["individuals"])
    return reply


def _search_groups(call: Call) -> Reply:
    groups = [
        (_without_parts(Reply(content=shown(record, body))).content, {**body, "id": record.id})
        for record, body in call.listed("group")
    ]
    return searched(call, groups)


def _list_individuals(call: Call) -> Reply:
    body = call.get("group", call.params[0]).body
    users = [call.org.find("user", member) for member in body["individuals"]]
    return page(call, [{"id": user.id, "name": user.body["name"]} for user in users if user is not None])


def _add_members(call: Call) -> Reply:
    record = call.get("group", call.params[0])
    given = call.fields()
    check_version(record, given)
    wanted = given.get("memberIds")
    if not isinstance(wanted, list) or len(wanted) > MAX_GROUP_MEMBERS_PER_CALL:
        raise bad_request(f"memberIds must be a list of at most {MAX_GROUP_MEMBERS_PER_CALL} ids", "invalid.value")
    users = [call.get("user", str(member)).id for member in wanted]
    individuals = list(dict.fromkeys([*record.body["individuals"], *users]))
    call.org.change(record, {**record.body, "individuals": individuals}, call.moment, "MemberUpdate")
    return Reply(status=202, content={})


def _drop_members(call: Call) -> Reply:
    record = call.get("group", call.params[0])
    leaving = [member for member in call.request.query.get("ids", "").split(",") if member]
    if not 1 <= len(leaving) <= MAX_GROUP_MEMBERS_PER_CALL:
        raise ApiRefusal(400, "invalid.value", f"ids must name 1 to {MAX_GROUP_MEMBERS_PER_CALL} members")
    individuals = [member for member in record.body["individuals"] if member not in leaving]
    call.org.change(record, {**record.body, "individuals": individuals}, call.moment, "MemberUpdate")
    return Reply(status=202, content={})


GROUPS = _Groups(
    kind="group",
    path="/groups",
    build=_build_group,
    add="directory:group:add",
    view="directory:group:view",
    edit="directory:group:edit",
    delete="directory:group:delete",
)
