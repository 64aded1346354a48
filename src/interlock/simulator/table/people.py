"""Roles with their grants, locations, teams and OAuth clients. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.simulator.answer import Json, Moment, Reply, bad_request, not_found
from interlock.simulator.call import Call, cursor_page, page
from interlock.simulator.collection import Declared
from interlock.simulator.field import (
    DIVISION,
    LIST,
    NAME,
    OBJECT,
    TEXT,
    WHOLE,
    choice,
    fields,
    given,
    needed,
    once,
    refers,
    secret,
    usual,
)
from interlock.simulator.org import INBORN, Kind, Organisation, Record
from interlock.simulator.routes import Route
from interlock.simulator.row import Paging, Row, Versioning

MAX_GRANTS_PER_CALL = 100
MAX_MEMBERS_PER_CALL = 25
ALL_DIVISIONS = "*"

_DEFAULT_ROLES = ("admin", "employee", "user", "communicateUser")
_KNOWN_ACTIONS = ("add", "view", "edit", "delete", "assign", "manage", "search", "execute")
_SUBJECTS = ("user", "group", "oauthclient")


def _role_view(_call: Call, _record: Record, view: Json) -> Json:
    return {**view, "base": view["default"], "userCount": 0}


def _oauth_shape(call: Call, body: Json, current: Json | None) -> Json:
    """Give a new client its secret; check the roles that it is granted."""
    for pair in body.get("roleDivisions") or []:
        role = pair.get("roleId") if isinstance(pair, dict) else None
        if not isinstance(role, str) or call.org.find("role", role) is None:
            raise bad_request("roleDivisions names a role that does not exist", "invalid.reference")
    if body["authorizedGrantType"] == "CLIENT-CREDENTIALS" and not body.get("roleDivisions"):
        raise bad_request("A client with client credentials needs roleDivisions", "invalid.value")
    return body if current is None else {**body, "secret": current["secret"]}


ROLES = Row(
    kind="role",
    entity="Role",
    service="PeoplePermissions",
    path="/authorization/roles",
    permission="authorization:role",
    fields={
        "name": NAME,
        **fields(TEXT, "description defaultRoleId"),
        **fields(LIST, "permissions permissionPolicies"),
        "default": given(False),
        "grants": secret(given([])),
    },
    stamps=("", ""),
    view=_role_view,
)
LOCATIONS = Row(
    kind="location",
    entity="Location",
    service="Directory",
    path="/locations",
    permission="directory:location",
    fields={
        "name": NAME,
        "state": choice("active", "deleted"),
        "path": usual(LIST, []),
        "notes": TEXT,
        "contactUser": refers("user"),
        **fields(OBJECT, "emergencyNumber address"),
        "addressVerified": given(False),
    },
    updates=("PATCH",),
    versioning=Versioning.NEEDED,
    search="/locations/search",
    stamps=("", ""),
)
TEAMS = Row(
    kind="team",
    entity="Team",
    service="Groups",
    path="/teams",
    permission="groups:team",
    fields={
        "name": NAME,
        "division": DIVISION,
        "description": TEXT,
        "members": secret(once(usual(LIST, []))),
    },
    updates=("PATCH",),
    paging=Paging.CURSOR,
)
OAUTH_CLIENTS = Row(
    kind="oauthclient",
    entity="OAuthClient",
    service="OAuth",
    path="/oauth/clients",
    permission="oauth:client",
    fields={
        "name": NAME,
        "description": TEXT,
        "accessTokenValiditySeconds": usual(WHOLE, 86_400),
        "registeredRedirectUri": LIST,
        "authorizedGrantType": needed(
            choice("CLIENT-CREDENTIALS", "CODE", "TOKEN", "SAML2BEARER", "PASSWORD"),
        ),
        **fields(LIST, "roleIds scope roleDivisions"),
        "state": choice("active", "inactive"),
        "dateToDelete": TEXT,
        "secret": once(given("simulated-client-secret")),
    },
    unique="",
    shape=_oauth_shape,
)
KINDS: tuple[Kind, ...] = ()
ROWS = (ROLES, LOCATIONS, TEAMS, OAUTH_CLIENTS)


def routes(engines: Mapping[str, Declared]) -> list[Route]:
    """Return the routes of grants, permissions and members of teams."""
    subject, grant = "/authorization/subjects/{id}", ("authorization:grant:add",)
    members = "/teams/{id}/members"
    roles = _Roles(engines["role"])
    return [
        Route(method="GET", path=subject, handler=_read_subject),
        Route(method="POST", path=subject + "/bulkadd", handler=_add_grants, permissions=grant),
        Route(
            method="DELETE",
            path=subject + "/divisions/{division}/roles/{role}",
            handler=_drop_grant,
            permissions=("authorization:grant:delete",),
        ),
        Route(method="GET", path="/authorization/permissions", handler=_permissions),
        Route(method="PUT", path="/authorization/roles/default", handler=roles.restore),
        Route(method="GET", path="/users/me", handler=_nobody),
        Route(method="GET", path=members, handler=_list_members, permissions=("groups:team:view",)),
        Route(method="POST", path=members, handler=_add_members, permissions=("groups:team:edit",)),
        Route(method="DELETE", path=members, handler=_drop_members, permissions=("groups:team:edit",)),
    ]


def found(org: Organisation, moment: Moment) -> None:
    """Create the roles that every organisation has."""
    for name in _DEFAULT_ROLES:
        body = {
            "name": name,
            "defaultRoleId": name,
            "permissions": [],
            "permissionPolicies": [],
            "default": True,
            "grants": [],
            INBORN: True,
        }
        org.add("role", body, moment)


class _Roles:
    """Bringing default roles back to what they were."""

    def __init__(self, engine: Declared) -> None:
        self._engine = engine

    def restore(self, call: Call) -> Reply:
        records = [call.get("role", identifier) for identifier in call.ids(MAX_GRANTS_PER_CALL)]
        restored = [self._engine.store(call, record, record.body) for record in records]
        return Reply(content=[self._engine.shown(call, record, record.body) for record in restored])


def _subject(call: Call) -> Record:
    for kind in _SUBJECTS:
        record = call.org.find(kind, call.params[0])
        if record is not None:
            return record
    raise not_found("subject", call.params[0])


def _read_subject(call: Call) -> Reply:
    record = _subject(call)
    held = [
        _grant_view(call, role, record.id, where)
        for role in call.org.living("role")
        for subject, where in role.body["grants"]
        if subject == record.id
    ]
    return Reply(content={"id": record.id, "name": record.body["name"], "grants": held, "version": 1})


def _grant_view(call: Call, role: Record, subject: str, where: str) -> Json:
    division = call.org.find("division", where)
    return {
        "subjectId": subject,
        "division": {"id": where, "name": division.body["name"] if division is not None else "All Divisions"},
        "role": {"id": role.id, "name": role.body["name"], "policies": []},
    }


def _add_grants(call: Call) -> Reply:
    record = _subject(call)
    pairs = call.fields().get("grants")
    if not isinstance(pairs, list) or len(pairs) > MAX_GRANTS_PER_CALL:
        raise bad_request(f"grants must be a list of at most {MAX_GRANTS_PER_CALL}", "invalid.value")
    for role_id, where in [_pair(call, pair) for pair in pairs]:
        role = call.org.get("role", role_id)
        if [record.id, where] not in role.body["grants"]:
            _store_grants(call, role, [*role.body["grants"], [record.id, where]])
    return Reply(status=204)


def _pair(call: Call, pair: object) -> tuple[str, str]:
    """Return role and division of a grant; one that does not exist is a 404, which the provider retries."""
    given_pair = pair if isinstance(pair, dict) else {}
    role, where = str(given_pair.get("roleId")), str(given_pair.get("divisionId"))
    call.org.get("role", role)
    if where != ALL_DIVISIONS:
        call.org.get("division", where)
    return role, where


def _drop_grant(call: Call) -> Reply:
    subject, where, role_id = call.params
    role = call.org.get("role", role_id)
    if [subject, where] not in role.body["grants"]:
        raise not_found("grant", role_id)
    _store_grants(call, role, [grant for grant in role.body["grants"] if grant != [subject, where]])
    return Reply(status=204)


def _store_grants(call: Call, role: Record, grants: list[list[str]]) -> None:
    """Store who has the role; grants of subjects that are gone go with it."""
    alive = [grant for grant in grants if any(call.org.find(kind, grant[0]) for kind in _SUBJECTS)]
    call.org.change(role, {**role.body, "grants": alive}, call.moment, "GrantUpdate")


def _permissions(call: Call) -> Reply:
    """Answer every entity of one domain with every action: which exist is not known outside."""
    domain = call.request.query.get("queryString") or call.request.query.get("domain") or ""
    names = _entities(call, domain) if domain else []
    actions = {
        name: [{"domain": domain, "entityType": name, "action": action} for action in _KNOWN_ACTIONS] for name in names
    }
    return page(call, [{"domain": domain, "permissionMap": actions}] if names else [])


def _entities(call: Call, domain: str) -> list[str]:
    named = [name.split(":") for name in call.org.permissions]
    return sorted({parts[1] for parts in named if parts[0] == domain and len(parts) > 1})


def _nobody(_call: Call) -> Reply:
    raise bad_request(
        "This request requires a user context. Client credentials cannot be used for requests "
        "that require a user context.",
        "not.a.user",
    )


def _list_members(call: Call) -> Reply:
    users = [call.org.find("user", member) for member in call.get("team", call.params[0]).body["members"]]
    return cursor_page(call, [{"id": user.id, "name": user.body["name"]} for user in users if user is not None])


def _add_members(call: Call) -> Reply:
    team = call.get("team", call.params[0])
    wanted = call.fields().get("memberIds")
    if not isinstance(wanted, list) or len(wanted) > MAX_MEMBERS_PER_CALL:
        raise bad_request(f"memberIds must be a list of at most {MAX_MEMBERS_PER_CALL} ids", "invalid.value")
    added = [call.get("user", str(member)).id for member in wanted]
    members = list(dict.fromkeys([*team.body["members"], *added]))
    call.org.change(team, {**team.body, "members": members}, call.moment, "MemberUpdate")
    return Reply(content={"entities": [{"id": member} for member in added], "failures": []})


def _drop_members(call: Call) -> Reply:
    team = call.get("team", call.params[0])
    leaving = (call.request.query.get("id") or "").split(",")
    members = [member for member in team.body["members"] if member not in leaving]
    call.org.change(team, {**team.body, "members": members}, call.moment, "MemberUpdate")
    return Reply(status=204)
