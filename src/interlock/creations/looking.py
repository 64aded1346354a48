"""Looks at a creation again, in the organisation: is it there, is it gone, which id has it? Asks what it is given.

A look proves that something is gone only some time after it was made: the API shows new objects late.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from msgspec.structs import replace

from interlock.bounded import read_json
from interlock.creations.creation import Creation
from interlock.creations.reading import has_failed, read_job, says_deleted
from interlock.genesys.creating_calls import API, find_creating_call
from interlock.genesys.listings import Listing, find_listing, is_passed_over

Ask = Callable[[str, str], Awaitable[tuple[int, bytes]]]
"""(path from /api/v2 on, query) -> status and body of a GET."""

SHOWN_AFTER: Final = timedelta(minutes=5)
"""An object that is not shown so long after it was made is gone."""
_PAGES: Final = 20
_OK: Final = 200


async def look_again(creation: Creation, ask: Ask, *, now: datetime) -> Creation | None:
    """Return what is known of a creation after a look; None when it is gone, or was not made.

    Args:
        creation: What the book says.
        ask: Reads from its organisation.
        now: Aware UTC instant.
    """
    if creation.job:
        return await _look_at_job(creation, ask)
    if creation.id:
        status, body = await ask(_from_api(creation.path), "")
        is_gone = says_deleted(status, body) and (now - creation.at > SHOWN_AFTER or status == _OK)
        if is_gone and creation.type:  # the path of an object of another type is a guess
            return None
        return creation  # that it is there does not prove that this run made it
    return await _look_for_name(creation, ask, now)


async def _look_at_job(creation: Creation, ask: Ask) -> Creation | None:
    status, body = await ask(f"{API}/flows/jobs/{creation.job}", "")
    if status != _OK:
        return creation
    if has_failed(body):
        return None
    told = read_job(body)
    if told is None or not told.id:
        return creation
    return published(creation, told.id, told.name)


def published(creation: Creation, identifier: str, name: str) -> Creation:
    """Return what is known once its job has published a flow."""
    return replace(
        creation,
        id=identifier,
        import_id=identifier,
        name=name or creation.name,
        path=f"/flows/{identifier}",
        doubt="",
        job="",
    )


async def _look_for_name(creation: Creation, ask: Ask, now: datetime) -> Creation | None:
    """Look for the one object of its type and name; more than one, or a type that cannot be listed, decide nothing."""
    listing = find_listing(creation.type)
    found_call = find_creating_call(creation.path)
    if listing is None or found_call is None or not creation.name:
        return creation
    ids = await _ids_of(creation.name, listing, ask)
    if ids is None or len(ids) > 1:
        return creation
    if not ids:
        return None if now - creation.at > SHOWN_AFTER else creation
    return replace(
        creation,
        id=ids[0],
        import_id=found_call.import_id(ids[0]),
        path=found_call.object_path(ids[0]),
        doubt=f"{creation.doubt}; an object of this name is there",
    )


async def _ids_of(name: str, listing: Listing, ask: Ask) -> list[str] | None:
    """Return the ids of the objects of a name; None when they could not all be seen."""
    ids: list[str] = []
    for number in range(1, _PAGES + 1):
        query = {**listing.query, "pageSize": listing.page_size, "pageNumber": number}
        status, body = await ask(API + listing.path, urlencode(query))
        page = _document(body) if status == _OK else None
        if page is None:
            return None
        entities = page.get("entities") or []
        named = [each for each in entities if isinstance(each, dict) and not is_passed_over(each)]
        ids += [str(each.get("id")) for each in named if str(each.get(listing.name)).casefold() == name.casefold()]
        if not entities or number >= int(page.get("pageCount") or 1):
            return ids
    return None


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = read_json(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _from_api(path: str) -> str:
    return path if path.startswith(API) else API + path
