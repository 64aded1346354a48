"""The calls of one run to one organisation, read for what they make. A hand: the gateway tells it each call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from interlock.bounded import read_json
from interlock.creations.creation import Creation, Place
from interlock.creations.looking import published
from interlock.creations.reading import has_failed, read_answer, read_job, read_name
from interlock.gateway.witness import Effect, Heard, Sent
from interlock.genesys.creating_calls import API, Found, find_creating_call, find_revival, makes_parts
from interlock.run.run_creations import RunCreations

_ORGANISATION = f"{API}/organizations/me"
_JOBS = f"{API}/flows/jobs/"
_UNHEARD = "it was sent, and no answer was heard"
_FAILED = 400
_GONE = frozenset({404, 410})


class PlaceWitness:
    """See `interlock.gateway.witness.Witness`; for the calls of one run to one organisation.

    Args:
        creations: Of the run.
        place: The organisation.
        aliases: Of the provider configurations that lead there.
    """

    def __init__(self, creations: RunCreations, place: Place, aliases: frozenset[str]) -> None:
        self._creations = creations
        self.place = place
        self.aliases = aliases

    def wants(self, method: str, path: str) -> bool:
        """See `Witness.wants`."""
        match method:
            case "POST":
                return not makes_parts(path)
            case "DELETE":
                return True
            case "PATCH":
                return find_revival(path) is not None
            case "GET":
                return path == _ORGANISATION or path.startswith(_JOBS)
            case _:
                return False

    async def begins(self, sent: Sent) -> str:
        """See `Witness.begins`. Only what is known to make an object is written down before it is sent."""
        if sent.method not in ("POST", "PATCH"):
            return ""
        self._creations.call_began()
        made = self._make(sent) if sent.method == "POST" else self._revive(sent)
        if made is None:
            return ""
        await self._creations.write(made)
        return made.key

    def _make(self, sent: Sent) -> Creation | None:
        found = find_creating_call(sent.path)
        if found is None:
            return None
        name = read_name(sent.body, found.call.field)
        address = self._creations.address_of(found.call.type, name, self.aliases)
        path = sent.path.removeprefix(API)
        made = self._creations.new(self.place, path, doubt=_UNHEARD)
        return replace(made, type=found.call.type, name=name, address=address)

    def _revive(self, sent: Sent) -> Creation | None:
        revival = find_revival(sent.path)
        body = _fields(sent.body)
        if revival is None or any(body.get(name) != value for name, value in revival.when.items()):
            return None
        path = sent.path.removeprefix(API).rstrip("/")
        identifier = path.rpartition("/")[2]
        name = read_name(sent.body, revival.field)
        address = self._creations.address_of(revival.type, name, self.aliases)
        made = self._creations.new(self.place, path, doubt=_UNHEARD)
        return replace(made, type=revival.type, id=identifier, import_id=identifier, name=name, address=address)

    async def ended(self, name: str, sent: Sent, heard: Heard) -> None:
        """See `Witness.ended`."""
        match sent.method:
            case "POST" | "PATCH":
                try:
                    await self._hear(name, sent, heard)
                finally:
                    self._creations.call_ended()
            case "DELETE" if heard.effect is Effect.ANSWERED and (heard.status < _FAILED or heard.status in _GONE):
                await self._creations.strike(self._creations.at_path(sent.path.removeprefix(API), self.place))
            case "GET" if heard.effect is Effect.ANSWERED and heard.status < _FAILED:
                await self._learn(sent, heard.body or b"")
            case _:
                pass

    async def _hear(self, name: str, sent: Sent, heard: Heard) -> None:
        made = self._creations.find(name) if name else None
        if made is None:
            if not name and sent.method == "POST" and heard.effect is Effect.ANSWERED and heard.status < _FAILED:
                await self._hear_of_unknown(sent, heard)
            return
        if heard.effect is Effect.NONE or (heard.effect is Effect.ANSWERED and heard.status >= _FAILED):
            await self._creations.strike([made])
            return
        if heard.effect is Effect.UNKNOWN:
            doubt = f"the API answered {heard.status}" if heard.status else "its answer was lost"
            await self._creations.write(replace(made, doubt=doubt))
            return
        await self._creations.write(self._answered(made, sent, heard.body))

    def _answered(self, made: Creation, sent: Sent, body: bytes | None) -> Creation:
        """Return what an answer adds: the id, or a job whose result it will be."""
        found = find_creating_call(sent.path) if sent.method == "POST" else None
        if found is None:
            return replace(made, doubt="", name=made.name or read_answer(body or b"", None).name)
        told = read_answer(body or b"", found)
        if not told.id:
            return replace(made, doubt="its answer had no id that could be read")
        if found.call.job:
            return replace(made, job=told.id, doubt=f"whether job {told.id} published it was not heard")
        return self._with_id(made, found, told.id, told.name)

    def _with_id(self, made: Creation, found: Found, identifier: str, name: str) -> Creation:
        name = made.name or name
        return replace(
            made,
            id=identifier,
            import_id=found.import_id(identifier),
            path=found.object_path(identifier),
            name=name,
            address=made.address or self._creations.address_of(made.type, name, self.aliases),
            doubt="",
        )

    async def _hear_of_unknown(self, sent: Sent, heard: Heard) -> None:
        told = read_answer(heard.body or b"", None)
        if told.id:
            path = f"{sent.path.removeprefix(API).rstrip('/')}/{told.id}"
            made = self._creations.new(self.place, path)
            await self._creations.write(replace(made, id=told.id, name=told.name))

    async def _learn(self, sent: Sent, body: bytes) -> None:
        """Learn which organisation this is, and how jobs end."""
        if sent.path == _ORGANISATION:
            self.place = replace(self.place, organisation=str(_fields(body).get("id") or ""))
            return
        made = self._creations.of_job(sent.path.removeprefix(_JOBS).strip("/"))
        if made is None:
            return
        told = read_job(body)
        if told is not None and told.id:
            address = made.address or self._creations.address_of(made.type, told.name, self.aliases)
            await self._creations.write(replace(published(made, told.id, told.name), address=address))
        elif has_failed(body):
            await self._creations.strike([made])


def _fields(body: bytes) -> Mapping[str, Any]:
    try:
        document = read_json(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
