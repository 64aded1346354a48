"""One authorised call, as a handler receives it, and the checks every handler shares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import msgspec

from .answer import ApiRefusal, Json, Moment, Reply, Request, bad_request, conflict
from .org import Organisation, Record, VersionForm, version_of

MAX_PAGE_SIZE = 500  # flows, skills and languages are listed by the provider with 500
MAX_NAME_LENGTH = 256
MAX_OFFSET = 1_000_000  # of the first object of a part of a list
MAX_DIGITS = 9  # of a number in a query: below 2^31
MAX_LIST_ITEMS = 1000  # of any list in a request body that has no smaller limit of its own

_DIVISION_ID = re.compile(r"[0-9a-f-]{36}|\*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: the OAuth client of the token, and the user it acts for, if any.

    Attributes:
        divisions: Ids or names of the divisions in which the permissions hold; None for all.
    """

    client_id: str
    client_name: str
    user_id: str | None
    permissions: frozenset[str]
    token: str
    divisions: frozenset[str] | None = None

    def may(self, permission: str) -> bool:
        """Return whether a role grants it; `*` grants all, `routing:*` a whole domain."""
        granted = self.permissions
        return "*" in granted or permission in granted or f"{permission.partition(':')[0]}:*" in granted


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request with its place in the route table.

    Attributes:
        params: The variable parts of the path, in order.
    """

    org: Organisation
    request: Request
    moment: Moment
    caller: Caller
    params: tuple[str, ...] = ()

    @property
    def base_url(self) -> str:
        """Scheme and authority under which the client reached us, for absolute URLs in answers."""
        return f"{self.request.scheme}://{self.request.headers.get('host', 'localhost')}"

    def at(self, *params: str) -> Call:
        """Return this call as if its path had named other objects."""
        return replace(self, params=params)

    def may_in(self, body: Json) -> bool:
        """Return whether the caller's permissions hold in the division of an object; true for one without."""
        allowed = self.caller.divisions
        where = body.get("division", {}).get("id", "*")
        if allowed is None or where == "*" or where in allowed:
            return True
        known = self.org.find("division", where)
        return known is not None and known.body["name"] in allowed

    def get(self, kind: str, identifier: str) -> Record:
        """Return a living object, whatever readers see yet.

        Raises:
            ApiRefusal: 404; 403 when the caller has no rights in its division.
        """
        record = self.org.get(kind, identifier)
        self.check_division(record.body)
        return record

    def read(self, kind: str, identifier: str) -> tuple[Record, Json]:
        """Return an object and its body as a GET by id sees it now.

        Raises:
            ApiRefusal: 404; 403 when the caller has no rights in its division.
        """
        record, body = self.org.read(kind, identifier, self.moment)
        self.check_division(body)
        return record, body

    def listed(self, kind: str) -> Iterator[tuple[Record, Json]]:
        """Yield what lists show now, without the divisions in which the caller has no rights."""
        return (found for found in self.org.listed(kind, self.moment) if self.may_in(found[1]))

    def check_division(self, body: Json) -> None:
        """Refuse a caller without rights in the division of an object.

        Raises:
            ApiRefusal: 403.
        """
        if not self.may_in(body):
            where = body["division"]["id"]
            raise ApiRefusal(
                403,
                "missing.division.permission",
                f"Unable to perform the requested action. You have no permission in the division {where}",
                params={"divisionId": where},
            )

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ApiRefusal: 400, the body is not JSON.
        """
        try:
            return msgspec.json.decode(self.request.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise bad_request("The request body is not valid JSON", "invalid.request.body") from error

    def fields(self) -> Json:
        """Return the body as an object.

        Raises:
            ApiRefusal: 400, the body is not a JSON object.
        """
        body = self.json()
        if not isinstance(body, dict):
            raise bad_request("The request body must be a JSON object", "invalid.request.body")
        return body

    def items(self, limit: int = MAX_LIST_ITEMS) -> list[Any]:
        """Return the body as a list of at most `limit` items.

        Raises:
            ApiRefusal: 400, it is not a list or has more.
        """
        body = self.json()
        if not isinstance(body, list):
            raise bad_request("The request body must be a JSON array", "invalid.request.body")
        if len(body) > limit:
            raise bad_request(f"At most {limit} items are allowed in one request", "too.many.items")
        return body

    def ids(self, limit: int) -> list[str]:
        """Return the `id` of each item of the body; plain strings count as ids."""
        return [identifier_of(item) for item in self.items(limit)]


Handler: TypeAlias = Callable[[Call], Reply]


def identifier_of(value: object) -> str:
    """Return the id in `{"id": …}`, or a plain id itself.

    Raises:
        ApiRefusal: 400, it is neither.
    """
    identifier = value.get("id") if isinstance(value, dict) else value
    if not isinstance(identifier, str) or not 1 <= len(identifier) <= MAX_NAME_LENGTH:
        raise bad_request("An object must be named by its id", "invalid.value")
    return identifier


def text(body: Json, name: str, *, required: bool = False, limit: int = MAX_NAME_LENGTH) -> str | None:
    """Return a string field, None when absent or null.

    Raises:
        ApiRefusal: 400, missing though required, no string, blank though required, or too long.
    """
    value = body.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or (required and not value.strip()):
        raise bad_request(f"The field '{name}' is required and must be a string", "invalid.value")
    if len(value) > limit:
        raise bad_request(f"The field '{name}' may have at most {limit} characters", "invalid.value")
    return value


def one_of(body: Json, name: str, allowed: tuple[str, ...]) -> str:
    """Return a field with a closed set of values; the first of them when absent, null or empty.

    Raises:
        ApiRefusal: 400.
    """
    value = body.get(name)
    if value is None or value == "":
        return allowed[0]
    if not isinstance(value, str) or value not in allowed:
        raise bad_request(f"The field '{name}' must be one of {', '.join(allowed)}", "invalid.value")
    return value


def whole(body: Json, name: str, default: int, *, least: int, most: int) -> int:
    """Return an integer field within bounds, `default` when absent or null.

    Raises:
        ApiRefusal: 400.
    """
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise bad_request(f"The field '{name}' must be an integer from {least} to {most}", "invalid.value")
    return value


def reference(call: Call, body: Json, name: str, kind: str) -> Json | None:
    """Return `{"id": …}` of a field that names an object, None when absent.

    Raises:
        ApiRefusal: 400, the object does not exist.
    """
    value = body.get(name)
    if value is None:
        return None
    identifier = identifier_of(value)
    if call.org.find(kind, identifier) is None:
        raise bad_request(
            f"The field '{name}' names the {kind} {identifier}, which does not exist", "invalid.reference"
        )
    return {"id": identifier}


def references(call: Call, body: Json, name: str, kind: str) -> list[Json]:
    """Return the list of `{"id": …}` of a field; empty when absent.

    Raises:
        ApiRefusal: 400, it is not a list, too long, or an object does not exist.
    """
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_LIST_ITEMS:
        raise bad_request(f"The field '{name}' must be a list of at most {MAX_LIST_ITEMS} references", "invalid.value")
    found = [reference(call, {name: item}, name, kind) for item in value]
    return [item for item in found if item is not None]


def division(call: Call, body: Json, current: Json | None, *, any_allowed: bool = False) -> Json:
    """Return the division of an object: the one named, else the one it has, else the home division.

    Raises:
        ApiRefusal: 400, it does not exist.
    """
    named = body.get("division")
    named = body.get("divisionId") if named is None else named
    named = None if named in ("", {"id": ""}, {}) else named  # sent for no choice
    if named is None and current is not None:
        kept: Json = current["division"]
        return kept
    named = {"id": home_division(call.org)} if named is None else named
    identifier = identifier_of(named)
    if identifier == "*" and any_allowed:
        return {"id": "*"}
    if _DIVISION_ID.fullmatch(identifier) is None or call.org.find("division", identifier) is None:
        raise bad_request(f"The division {identifier} does not exist", "invalid.division")
    call.check_division({"division": {"id": identifier}})
    return {"id": identifier}


def home_division(org: Organisation) -> str:
    """Return the id of the home division, which every organisation has."""
    return next(record.id for record in org.living("division") if record.body["homeDivision"])


def check_version(record: Record, body: Json) -> None:
    """Refuse a write that was made from another version.

    Raises:
        ApiRefusal: 400 without version; else 409, or 400 for groups: the provider retries both
            (docs/facts/genesys.md#genesys-28).
    """
    if record.kind.version is VersionForm.NONE:
        return
    given = body.get("version")
    if given is None:
        raise bad_request("The field 'version' is required", "version.required")
    current = version_of(record)
    if given == current:
        return
    message = f"The version {str(given)[:20]} does not match the current version {current}"
    if record.kind.name == "group":
        raise bad_request(message, "version.mismatch")
    raise conflict(message, "version.mismatch")


def shown(record: Record, body: Json) -> Json:
    """Return an object as the API shows it."""
    view = {"id": record.id, **body}
    version = version_of(record)
    if version is not None:
        view["version"] = version
    return view


def page(call: Call, entities: Sequence[Any]) -> Reply:
    """Return one page of a list in the vendor's form.

    Raises:
        ApiRefusal: 400, page number or size out of bounds.
    """
    size = query_number(call, "pageSize", 25, most=MAX_PAGE_SIZE)
    number = query_number(call, "pageNumber", 1, most=1_000_000)
    part = list(entities[(number - 1) * size : number * size])
    content = {
        "entities": part,
        "pageSize": size,
        "pageNumber": number,
        "total": len(entities),
        "pageCount": -(-len(entities) // size),
    }
    return Reply(content=content)


def cursor_page(call: Call, entities: Sequence[Any]) -> Reply:
    """Return one part of a list with the place where the next begins.

    Raises:
        ApiRefusal: 400, size or place out of bounds.
    """
    size = query_number(call, "pageSize", 25, most=MAX_PAGE_SIZE)
    start = query_number(call, "after", 0, least=0, most=MAX_OFFSET)
    content: Json = {"entities": list(entities[start : start + size]), "total": len(entities)}
    if start + size < len(entities):
        following = start + size
        content["nextUri"] = f"/api/v2{call.request.path[7:]}?after={following}&pageSize={size}"
        content["after"] = str(following)
    return Reply(content=content)


def page_after(call: Call, entities: Sequence[Json]) -> Reply:
    """Return the part of a list after the object whose id is the query's `after`: the client goes on until it is empty.

    Raises:
        ApiRefusal: 400, the size is out of bounds or no object has the id.
    """
    size = query_number(call, "pageSize", 25, most=MAX_PAGE_SIZE)
    last = call.request.query.get("after")
    places = [at for at, entity in enumerate(entities) if entity["id"] == last]
    if last and not places:
        raise bad_request("The parameter 'after' does not name an object of the list", "invalid.value")
    start = places[0] + 1 if last else 0
    return Reply(content={"entities": list(entities[start : start + size])})


def query_number(call: Call, name: str, default: int, *, least: int = 1, most: int) -> int:
    """Return an integer of the query within bounds, `default` when absent or empty.

    Raises:
        ApiRefusal: 400.
    """
    given = call.request.query.get(name)
    if given is None or given == "":
        return default
    number = int(given) if given.isascii() and given.isdigit() and len(given) <= MAX_DIGITS else -1
    if not least <= number <= most:
        raise bad_request(f"The parameter '{name}' must be an integer from {least} to {most}", "invalid.value")
    return number


def named(call: Call, entities: Iterable[Json]) -> list[Json]:
    """Return the entities whose name matches the query's `name`; `*` stands for anything, case does not matter."""
    wanted = call.request.query.get("name")
    if not wanted:
        return list(entities)
    pattern = re.compile(".*".join(re.escape(part) for part in wanted[:MAX_NAME_LENGTH].split("*")), re.IGNORECASE)
    return [entity for entity in entities if pattern.fullmatch(entity.get("name", ""))]


def permitted(call: Call, *permissions: str) -> None:
    """Refuse a caller who has none of the permissions.

    Raises:
        ApiRefusal: 403 naming them, as the vendor does (provider issues 277 and 1133).
    """
    if any(call.caller.may(permission) for permission in permissions):
        return
    listing = ", ".join(permissions)
    raise ApiRefusal(
        403,
        "missing.any.permissions",
        "Unable to perform the requested action. You must have at least one of the following permissions assigned: "
        f"[{listing}]",
        params={"permissions": f"[{listing}]"},
    )
