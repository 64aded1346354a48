"""A server's TFE API in memory, and clients that speak to it as `cloud {}` does, without a socket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from interlock.backend.asgi import Service, create_app
from interlock.backend.held_lock import HeldLocks
from interlock.compose.cloud import cloud_routes
from interlock.coordinator import View
from interlock.home.embedded import EmbeddedHome
from interlock.ids import RandomIds
from interlock.lock import Broken
from interlock.rights import Role
from interlock.rights.book import TokenBook
from interlock.rights.callers import BookTokens, SingleToken, Tokens
from interlock.testing.asking import Answered
from interlock.testing.clock import FakeClock, settle
from interlock.testing.home import memory_home

MASTER = "the-own-token-of-this-server"
STATE = "acme/app"
WAIT_S = 60.0


def state(serial: int, *names: str, lineage: str = "l", outputs: dict[str, Any] | None = None) -> bytes:
    rows = [
        {"mode": "managed", "type": "t", "name": name, "provider": "provider.p", "instances": [{"attributes": {}}]}
        for name in names
    ]
    whole = {"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage}
    return json.dumps({**whole, "outputs": outputs or {}, "resources": rows}).encode()


class Sent:
    """One request on its way; its client may hang up at any time."""

    def __init__(self, app: Any, method: str, address: str, headers: dict[str, str], body: bytes) -> None:
        self.answered = Answered()
        self.breaks_on_send = False
        self._body: list[bytes] = [body]
        self._hung_up = asyncio.Event()
        path, _, query = address.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
            "client": ("127.0.0.1", 1),
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def hang_up(self) -> None:
        self._hung_up.set()

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        await self._hung_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.breaks_on_send:
            raise OSError("connection reset")
        if message["type"] == "http.response.start":
            self.answered.status = message["status"]
            self.answered.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.answered.body += message.get("body", b"")


class CloudServer:
    """One server."""

    def __init__(
        self, folder: Path, *, tokens: Tokens | None = None, home: EmbeddedHome | None = None, **environ: str
    ) -> None:
        self.clock: Any = home.clock if home is not None else FakeClock()
        self.home = home or memory_home(folder, clock=self.clock, ids=RandomIds())
        records = self.home.store.records
        self.book = TokenBook(records, self.clock, RandomIds())
        self.about = Service(RandomIds())
        self.tokens = tokens or BookTokens(self.book, SingleToken(MASTER))
        self.locks = HeldLocks(self.home.coordinator, self.clock, ending=self.about.ending, is_alone=True)
        routes = cloud_routes(
            self.home, self.tokens, self.locks, self.about, environ, is_https=False, wait_s=WAIT_S, watch_s=0.5
        )
        self.app: Starlette = create_app(
            self.home.coordinator,
            self.home.archive,
            clock=self.clock,
            ids=RandomIds(),
            tokens=self.tokens,
            about=self.about,
            locks=self.locks,
            further=routes,
        )

    async def token(self, role: Role = Role.RUNNER, states: str = "**", note: str = "") -> str:
        return (await self.book.create(role, states=states, note=note or role.value, by="test"))[1].whole()

    def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = MASTER,
        body: bytes = b"",
        sends: object = None,
        is_terraform: bool = False,
    ) -> Sent:
        """Send a request and do not wait for its answer."""
        headers = {"Host": "tfe.example:8650"} | ({"Authorization": f"Bearer {token}"} if token else {})
        headers |= {"Terraform-Version": "1.11.4"} if is_terraform else {}
        whole = path if path.startswith("/") else f"/api/v2/{path}"
        return Sent(self.app, method, whole, headers, body if sends is None else json.dumps(sends).encode())

    async def ask(self, method: str, path: str, **more: Any) -> Answered:
        """Send a request and return its answer; the client stays for it."""
        sent = self.send(method, path, **more)
        await asyncio.wait_for(sent.task, 20)
        return sent.answered

    async def view(self, state: str = STATE) -> View:
        return await self.home.coordinator.view(state)

    async def holders(self, state: str = STATE) -> list[str]:
        return [holder.who for holder in (await self.view(state)).lock.holders]

    async def break_(self, state: str = STATE) -> None:
        """Break the lock, as recovery does."""
        holder = (await self.view(state)).lock.holders[0]
        event = Broken(ticket=holder.ticket, token=holder.token, by="op", reason="its runner was deleted")
        await self.home.coordinator.apply_event(state, event)


class Cloud:
    """A Terraform: it asks for the workspace once, and then uses the id that it was told."""

    def __init__(self, server: CloudServer, token: str = MASTER, state: str = STATE) -> None:
        self.server, self.token = server, token
        self.organization, self.name = state.split("/")
        self.id, self.is_terraform = "", True

    async def ask(self, method: str, path: str, **more: Any) -> Answered:
        return await self.server.ask(method, path, token=self.token, is_terraform=self.is_terraform, **more)

    async def init(self, **attributes: Any) -> Answered:
        """Read the workspace, or make it."""
        base = f"organizations/{self.organization}/workspaces"
        found = await self.ask("GET", f"{base}/{self.name}")
        if found.status == 404:
            data = {"type": "workspaces", "attributes": {"name": self.name, **attributes}}
            found = await self.ask("POST", base, sends={"data": data})
        if found.status < 300:
            self.id = found.json()["data"]["id"]
        return found

    def send_lock(self) -> Sent:
        reason = {"data": {"type": "", "attributes": {"reason": "Locked by Terraform"}}}
        return self.server.send("POST", f"workspaces/{self.id}/actions/lock", token=self.token, sends=reason)

    async def lock(self) -> Answered:
        sent = self.send_lock()
        await asyncio.wait_for(sent.task, 20)
        return sent.answered

    async def unlock(self) -> Answered:
        return await self.ask("POST", f"workspaces/{self.id}/actions/unlock")

    async def announce(self, body: bytes, *, whole: bool = False, **more: Any) -> Answered:
        document = json.loads(body)
        attributes = {
            "serial": document["serial"],
            "lineage": document["lineage"],
            "md5": hashlib.md5(body, usedforsecurity=False).hexdigest(),
            "force": False,
            **({"state": base64.b64encode(body).decode()} if whole else {}),
            **more,
        }
        sends = {"data": {"type": "state-versions", "attributes": attributes}}
        return await self.ask("POST", f"workspaces/{self.id}/state-versions", sends=sends)

    async def put(self, told: Answered, body: bytes) -> Answered:
        url = told.json()["data"]["attributes"]["hosted-state-upload-url"]
        assert url.startswith("http://tfe.example:8650/")
        return await self.server.ask("PUT", url.removeprefix("http://tfe.example:8650"), token=None, body=body)

    async def write(self, body: bytes, **more: Any) -> Answered:
        """Write as go-tfe does: announce, bring, and read again; all at once when the server wants the bytes along."""
        told = await self.announce(body, **more)
        if told.status == 422 and "param is missing or the value is empty: state" in told.body.decode():
            return await self.announce(body, whole=True, **more)
        if told.status != 201 or not told.json()["data"]["attributes"]["hosted-state-upload-url"]:
            return told
        put = await self.put(told, body)
        if put.status != 200:
            return put
        return await self.ask("GET", f"state-versions/{told.json()['data']['id']}")

    async def read(self) -> bytes | None:
        found = await self.ask("GET", f"workspaces/{self.id}/current-state-version")
        if found.status == 404:
            return None
        url = found.json()["data"]["attributes"]["hosted-state-download-url"]
        return (await self.ask("GET", url.removeprefix("http://tfe.example:8650"))).body


async def terraform(server: CloudServer, token: str = MASTER, state: str = STATE) -> Cloud:
    """Return a Terraform that has initialised."""
    made = Cloud(server, token, state)
    await made.init()
    assert made.id
    return made


def error(answered: Answered) -> dict[str, str]:
    """Return what a refusal says."""
    [found] = answered.json()["errors"]
    assert isinstance(found, dict)
    return found


__all__ = ["MASTER", "STATE", "WAIT_S", "Cloud", "CloudServer", "Sent", "error", "settle", "state", "terraform"]
