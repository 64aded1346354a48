"""Searches by clauses (`POST /users/search`) and queries by filters (`POST /taskmanagement/workbins/query`). Pure.

A search takes EXACT, TERM, TERMS, STARTS_WITH and CONTAINS clauses on named fields; a clause without fields asks
every field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .answer import Json, Reply, bad_request
from .call import MAX_PAGE_SIZE, Call, whole

MAX_CLAUSES = 20
MAX_RESULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One condition: any of `fields` has any of `values` (lower case)."""

    fields: tuple[str, ...]
    values: tuple[str, ...]
    form: str

    def holds(self, facts: Json) -> bool:
        """Return whether an object meets it."""
        names = self.fields or tuple(facts)
        return any(self._meets(str(facts.get(name, "")).casefold()) for name in names)

    def _meets(self, held: str) -> bool:
        match self.form:
            case "STARTS_WITH":
                return held.startswith(self.values)
            case "CONTAINS":
                return any(value in held for value in self.values)
            case _:
                return held in self.values


def clauses(call: Call) -> list[Clause]:
    """Return the clauses of a search.

    Raises:
        ApiRefusal: 400, there are none, too many, or one cannot be read.
    """
    given = call.fields().get("query")
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_CLAUSES:
        raise bad_request("The search needs a list of clauses as 'query'", "invalid.search")
    return [_clause(item) for item in given]


def found(results: Sequence[Json]) -> Reply:
    """Return the answer of a search."""
    content = {"total": len(results), "pageCount": 1, "pageSize": 25, "pageNumber": 1}
    return Reply(content={**content, "results": list(results[:MAX_RESULTS])})


def searched(call: Call, objects: Sequence[tuple[Json, Json]]) -> Reply:
    """Answer a search over objects, each given as it is shown and with the facts that clauses ask.

    Raises:
        ApiRefusal: 400, the clauses cannot be read.
    """
    wanted = clauses(call)
    return found([view for view, facts in objects if all(clause.holds(facts) for clause in wanted)])


def queried(call: Call, objects: Sequence[Json]) -> Reply:
    """Answer a query by filters: every filter names a field and the values it may have.

    Raises:
        ApiRefusal: 400, the body cannot be read.
    """
    body = call.fields()
    size = whole(body, "pageSize", 25, least=1, most=MAX_PAGE_SIZE)
    start = _start(body.get("after"))
    given = body.get("filters") or []
    if not isinstance(given, list) or len(given) > MAX_CLAUSES:
        raise bad_request(f"filters must be a list of at most {MAX_CLAUSES}", "invalid.filter")
    wanted = [_filter(item) for item in given]
    matching = [item for item in objects if all(clause.holds(item) for clause in wanted)]
    content: Json = {"entities": matching[start : start + size], "pageSize": size}
    if start + size < len(matching):
        content["after"] = str(start + size)
    return Reply(content=content)


def _clause(clause: object) -> Clause:
    given = clause if isinstance(clause, dict) else {}
    fields, values = given.get("fields") or [], given.get("values") or [given.get("value")]
    form = given.get("type")
    if form not in _FORMS or not isinstance(fields, list) or not isinstance(values, list):
        raise bad_request(f"A search clause needs a value and a type of {', '.join(_FORMS)}", "invalid.search")
    return Clause(
        fields=tuple(str(field) for field in fields), values=tuple(str(value).casefold() for value in values), form=form
    )


def _filter(given: object) -> Clause:
    values = given.get("values") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(given.get("name"), str) or not isinstance(values, list):
        raise bad_request("A filter needs a name and values", "invalid.filter")
    return Clause(fields=(given["name"],), values=tuple(str(value).casefold() for value in values), form="EXACT")


def _start(given: Any) -> int:
    if given in (None, ""):
        return 0
    if not isinstance(given, str) or not given.isascii() or not given.isdigit() or len(given) > 9:  # noqa: PLR2004
        raise bad_request("'after' must be a place that a former answer gave", "invalid.value")
    return int(given)


_FORMS = ("EXACT", "TERM", "TERMS", "STARTS_WITH", "CONTAINS")
