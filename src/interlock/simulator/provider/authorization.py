"""Divisions. Source of the sequences: docs/facts/genesys.md#genesys-30."""

from __future__ import annotations

from typing import Any

from tf.schema import Schema

from .managed import Lookup, Managed, State
from .sdk import ApiError, Sdk
from .shapes import FLAG, defaulted, optional, required, settled


class Division(Managed):
    """`genesyscloud_auth_division`; with `home` it adopts the home division and never deletes it."""

    kind = "auth_division"
    label = "division"
    delete_limit_s = 300.0
    fields = (required("name"), optional("description"), defaulted("home", FLAG, default=False))

    def make(self, sdk: Sdk, wanted: State) -> str:
        """See `Managed`."""
        if not wanted["home"]:
            return str(sdk.call("POST", "/authorization/divisions", _division(wanted))["id"])
        home = str(sdk.call("GET", "/authorization/divisions/home")["id"])
        sdk.call("PUT", f"/authorization/divisions/{home}", _division(wanted))
        return home

    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """See `Managed`."""
        answer = sdk.call("GET", f"/authorization/divisions/{identifier}", query={"objectCount": "false"})
        return {"name": answer["name"], "description": answer.get("description"), "home": answer["homeDivision"]}

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:  # noqa: ARG002 - see `Managed`
        """See `Managed`."""
        sdk.call("PUT", f"/authorization/divisions/{identifier}", _division(wanted))

    def delete(self, ctx: Any, current: State) -> State | None:
        """See `Managed`: the home division is left alone."""
        return None if current["home"] else super().delete(ctx, current)

    def erase(self, sdk: Sdk, identifier: str) -> None:
        """See `Managed`: 400 is retried, objects may be leaving the division."""
        path = f"/authorization/divisions/{identifier}"
        self.retried(lambda: sdk.call("DELETE", path, query={"force": "false"}), 400)


class DivisionLookup(Lookup):
    """`data.genesyscloud_auth_division`."""

    kind = "auth_division"
    label = "division"
    path = "/authorization/divisions"


def _division(wanted: State) -> dict[str, Any]:
    return {"name": wanted["name"], "description": wanted.get("description") or ""}


class HomeLookup(Lookup):
    """`data.genesyscloud_auth_division_home`, which is asked for nothing."""

    kind = "auth_division_home"
    label = "home division"
    path = "/authorization/divisions/home"

    @classmethod
    def get_schema(cls) -> Schema:
        """See `tf.iface.AbstractResource`."""
        return Schema(attributes=[settled("id"), settled("name"), settled("description")])

    def read(self, ctx: Any, config: State) -> State | None:  # noqa: ARG002 - the interface's argument
        """See `tf.iface.DataSource`."""
        try:
            with self.session.pool.client() as sdk:
                answer = sdk.call("GET", self.path)
        except ApiError as error:
            ctx.diagnostics.add_error(
                f"Failed to read {self.label}: {error}", error.detail(f"genesyscloud_{self.kind}")
            )
            return None
        return {name: answer.get(name) for name in ("id", "name", "description")}
