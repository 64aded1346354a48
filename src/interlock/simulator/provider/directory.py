"""Users and groups. Source of the sequences: docs/facts/genesys.md#genesys-31."""

from __future__ import annotations

from functools import partial
from typing import Any

from .managed import Lookup, Managed, State
from .parts import Part, bodies, states
from .routing import division_body, known
from .sdk import ApiError, Sdk
from .session import pages
from .shapes import (
    FLAG,
    NUMBER,
    Blocks,
    Object,
    ObjectList,
    Objects,
    Text,
    TextList,
    Texts,
    defaulted,
    optional,
    required,
    settled,
)

BULK_ITEMS = 50
GROUP_MEMBERS_PER_CALL = 50

_CONFLICT = 409
_RETRIED = (404, 408, _CONFLICT)  # 404: the object was created a moment ago, and reads may be late
_USER_EXPANDED = "skills,languages,locations,profileSkills,certifications,employerInfo"
_SKILL = Object({"skill_id": Text(), "proficiency": NUMBER})
_EMPLOYER_NAMES = {
    "official_name": "officialName",
    "employee_id": "employeeId",
    "employee_type": "employeeType",
    "date_hire": "dateHire",
}
_EMPLOYER = Object({name: Text() for name in _EMPLOYER_NAMES})
_LOCATION = Object({"location_id": Text(), "notes": Text()})
_LANGUAGE = Object({"language_id": Text(), "proficiency": NUMBER})


USER_PARTS = (
    Part("certifications", ("certifications",), Texts(), settled=True),
    Part("employer_info", ("employerInfo",), ObjectList(_EMPLOYER), settled=True, inside=_EMPLOYER_NAMES, single=True),
    Part("locations", ("locations",), Objects(_LOCATION), settled=True, inside={"location_id": "id", "notes": "notes"}),
)


class User(Managed):
    """`genesyscloud_user`; a deleted user with the same e-mail is revived."""

    kind = "user"
    label = "user"
    delete_limit_s = 180.0
    fields = (
        required("email"),
        required("name"),
        optional("password", sensitive=True),
        defaulted("state", Text(), "active"),
        settled("division_id"),
        optional("department"),
        optional("title"),
        optional("manager"),
        defaulted("acd_auto_answer", FLAG, default=False),
        settled("profile_skills", Texts()),
        *(part.field for part in USER_PARTS),
        settled("routing_skills", Objects(_SKILL)),
        settled("routing_languages", Objects(_LANGUAGE)),
    )

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`."""
        buried = _deleted_with(sdk, wanted["email"])
        if buried is not None:
            return self._revive(sdk, buried)
        try:
            return str(sdk.call("POST", "/users", _new_user(wanted))["id"])
        except ApiError as error:
            buried = _deleted_with(sdk, wanted["email"]) if error.status == _CONFLICT else None
            if buried is None:
                raise
            return self._revive(sdk, buried)

    def finish(self, sdk: Sdk, identifier: str, wanted: State) -> None:
        """See `Managed`."""
        if known(wanted.get("manager")) or wanted["acd_auto_answer"] or bodies(USER_PARTS, wanted):
            self._patch(sdk, identifier, _user(wanted))
        self._set_parts(sdk, identifier, wanted)

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`."""
        answer = sdk.call("GET", f"/users/{identifier}", query={"expand": _USER_EXPANDED})
        sdk.call("GET", f"/voicemail/userpolicies/{identifier}")
        sdk.call("GET", f"/routing/users/{identifier}/utilization")
        return {
            "email": answer["email"],
            "name": answer["name"],
            "state": answer["state"],
            "division_id": answer["division"]["id"],
            "department": answer.get("department"),
            "title": answer.get("title"),
            "manager": (answer.get("manager") or {}).get("id"),
            "acd_auto_answer": answer.get("acdAutoAnswer", False),
            "profile_skills": answer["profileSkills"],
            "routing_skills": _rated_state(answer["skills"], "skill_id"),
            "routing_languages": _rated_state(answer["languages"], "language_id"),
            **states(USER_PARTS, answer),
        }

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:
        """See `Managed`."""
        if wanted["state"] != current["state"]:
            self._patch(sdk, identifier, {"state": wanted["state"]})
        self._patch(sdk, identifier, _user(wanted))
        if wanted["division_id"] != current["division_id"]:
            sdk.call("POST", f"/authorization/divisions/{wanted['division_id']}/objects/USER", [identifier])
        self._set_parts(sdk, identifier, wanted)

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        sdk.call("DELETE", f"/users/{identifier}")

    def is_gone(self, sdk: Sdk, identifier: str) -> bool:
        """See `Managed`: a user is gone when the search for deleted users finds it."""
        return identifier in _deleted(sdk, "id", identifier)

    def _revive(self, sdk: Sdk, identifier: str) -> str:
        buried = sdk.call("GET", f"/users/{identifier}", query={"state": "deleted"})
        sdk.call("PATCH", f"/users/{identifier}", {"state": "active", "version": buried["version"]})
        return identifier

    def _patch(self, sdk: Sdk, identifier: str, body: dict[str, Any]) -> None:
        def attempt() -> None:
            version = sdk.call("GET", f"/users/{identifier}")["version"]
            sdk.call("PATCH", f"/users/{identifier}", {**body, "version": version})

        self.retried(attempt, *_RETRIED)

    def _set_parts(self, sdk: Sdk, identifier: str, wanted: State) -> None:
        _set_rated(sdk, identifier, "skill", wanted.get("routing_skills"))
        _set_rated(sdk, identifier, "language", wanted.get("routing_languages"))
        profile = known(wanted.get("profile_skills"))
        if profile is not None:
            sdk.call("PUT", f"/users/{identifier}/profileskills", profile)
        password = known(wanted.get("password"))
        if password:
            sdk.call("POST", f"/users/{identifier}/password", {"newPassword": password})


GROUP_PARTS = (
    Part(
        "addresses",
        ("addresses",),
        inside={"number": "address", "extension": "extension", "type": "type"},
        block=Blocks("addresses", optional("number"), optional("extension"), required("type")),
    ),
)


class Group(Managed):
    """`genesyscloud_group`, with its members."""

    kind = "group"
    label = "group"
    delete_limit_s = 60.0
    fields = (
        required("name"),
        optional("description"),
        defaulted("type", Text(), "official"),
        defaulted("visibility", Text(), "public"),
        defaulted("rules_visible", FLAG, default=True),
        defaulted("roles_enabled", FLAG, default=False),
        defaulted("calls_enabled", FLAG, default=False),
        defaulted("include_owners", FLAG, default=False),
        settled("owner_ids", TextList()),
        settled("member_ids", Texts()),
        *(part.field for part in GROUP_PARTS),
    )

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`: the description is not part of the creation."""
        return str(sdk.call("POST", "/groups", {**_group(wanted), "type": wanted["type"]})["id"])

    def finish(self, sdk: Sdk, identifier: str, wanted: State) -> None:
        """See `Managed`."""
        if known(wanted.get("description")):
            self._put(sdk, identifier, wanted)
        self._set_members(sdk, identifier, wanted.get("member_ids"))
        sdk.call("PATCH", f"/voicemail/groups/{identifier}/policy", {"enabled": False})

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`."""
        answer = sdk.call("GET", f"/groups/{identifier}")
        members = [member["id"] for member in pages(sdk, f"/groups/{identifier}/individuals", size=100)]
        sdk.call("GET", f"/voicemail/groups/{identifier}/policy")
        return {
            "name": answer["name"],
            "description": answer.get("description"),
            "type": answer["type"],
            "visibility": answer["visibility"],
            "rules_visible": answer["rulesVisible"],
            "roles_enabled": answer["rolesEnabled"],
            "calls_enabled": answer["callsEnabled"],
            "include_owners": answer["includeOwners"],
            "owner_ids": [owner["id"] for owner in answer.get("owners") or []],
            "member_ids": members,
            **states(GROUP_PARTS, answer),
        }

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:  # noqa: ARG002 - see `Managed`
        """See `Managed`."""
        self._put(sdk, identifier, wanted)
        self._set_members(sdk, identifier, wanted.get("member_ids"))
        sdk.call("PATCH", f"/voicemail/groups/{identifier}/policy", {"enabled": False})

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`."""
        sdk.call("DELETE", f"/groups/{identifier}")

    def _put(self, sdk: Sdk, identifier: str, wanted: State) -> None:
        def attempt() -> None:
            version = sdk.call("GET", f"/groups/{identifier}")["version"]
            body = {**_group(wanted), "description": wanted.get("description") or "", "version": version}
            sdk.call("PUT", f"/groups/{identifier}", body)

        self.retried(attempt, *_RETRIED)

    def _set_members(self, sdk: Sdk, identifier: str, wanted: Any) -> None:
        if not isinstance(wanted, list):
            return
        path = f"/groups/{identifier}"
        present = [member["id"] for member in pages(sdk, path + "/individuals", size=100)]
        for batch in _batches([member for member in present if member not in wanted], GROUP_MEMBERS_PER_CALL):
            sdk.call("DELETE", path + "/members", query={"ids": ",".join(batch)})
        for batch in _batches([member for member in wanted if member not in present], GROUP_MEMBERS_PER_CALL):
            self.retried(partial(_add_members, sdk, path, batch), *_RETRIED)


class UserLookup(Lookup):
    """`data.genesyscloud_user`, by e-mail or name."""

    kind = "user"
    label = "user"
    path = "/users"
    key = "email"
    other = "name"


class GroupLookup(Lookup):
    """`data.genesyscloud_group`."""

    kind = "group"
    label = "group"
    path = "/groups"


def _user(wanted: State) -> dict[str, Any]:
    return {
        "name": wanted["name"],
        "email": wanted["email"],
        "title": wanted.get("title") or "",
        "department": wanted.get("department") or "",
        "manager": known(wanted.get("manager")) or "",
        "acdAutoAnswer": wanted["acd_auto_answer"],
        **bodies(USER_PARTS, wanted),
    }


def _new_user(wanted: State) -> dict[str, Any]:
    division = division_body(wanted)
    return {
        "name": wanted["name"],
        "email": wanted["email"],
        "state": wanted["state"],
        "title": wanted.get("title") or "",
        "department": wanted.get("department") or "",
        "addresses": [],
        **({"divisionId": division["division"]["id"]} if division else {}),
    }


def _deleted_with(sdk: Sdk, email: str) -> str | None:
    return next(iter(_deleted(sdk, "email", email)), None)


def _deleted(sdk: Sdk, field: str, value: str) -> list[str]:
    clauses = [
        {"fields": [field], "value": value, "type": "EXACT"},
        {"fields": ["state"], "values": ["deleted"], "type": "EXACT"},
    ]
    return [str(user["id"]) for user in sdk.call("POST", "/users/search", {"query": clauses})["results"]]


def _set_rated(sdk: Sdk, identifier: str, kind: str, wanted: Any) -> None:
    if not isinstance(wanted, list):
        return
    path = f"/users/{identifier}/routing{kind}s"
    rated = {item[f"{kind}_id"]: item["proficiency"] for item in wanted}
    present = {item["id"]: item["proficiency"] for item in pages(sdk, path, size=50)}
    for gone in [item for item in present if item not in rated]:
        sdk.call("DELETE", f"{path}/{gone}")
    changed = [
        {"id": item, "proficiency": level}
        for item, level in rated.items()
        if level is None or present.get(item) != level
    ]
    for start in range(0, len(changed), BULK_ITEMS):
        sdk.call("PATCH", path + "/bulk", changed[start : start + BULK_ITEMS])


def _rated_state(items: list[dict[str, Any]], key: str) -> list[State]:
    return [{key: item["id"], "proficiency": item["proficiency"]} for item in items]


def _group(wanted: State) -> dict[str, Any]:
    return {
        "name": wanted["name"],
        "visibility": wanted["visibility"],
        "rulesVisible": wanted["rules_visible"],
        "addresses": [],
        **bodies(GROUP_PARTS, wanted),
        "rolesEnabled": wanted["roles_enabled"],
        "callsEnabled": wanted["calls_enabled"],
        "includeOwners": wanted["include_owners"],
        "ownerIds": known(wanted.get("owner_ids")) or [" "],  # the real provider sends one blank for none
    }


def _add_members(sdk: Sdk, path: str, members: list[str]) -> None:
    version = sdk.call("GET", path)["version"]
    sdk.call("POST", path + "/members", {"memberIds": members, "version": version})


def _batches(items: list[str], size: int) -> list[list[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
