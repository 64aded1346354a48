"""A provider whose objects are files on a shelf, so that a test can take one away, or make an operation fail.

Run as a program it is the plugin. `install` puts it into a filesystem mirror, which Terraform and OpenTofu take alike.
An operation fails while a file `fail-create-NAME`, `fail-update-NAME` or `fail-delete-NAME` is on the shelf.
Like providers made with SDKv2 (Genesys Cloud is one) it says `legacy_type_system`, and an update that finds its object
gone answers with nothing.
"""

from __future__ import annotations

import platform
import shlex
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

from tf.iface import DataSource, Provider, Resource
from tf.schema import Attribute, Schema
from tf.types import String

from interlock.simulator.provider import plugin
from interlock.simulator.provider.install import write_certificate

SOURCE = "shelf.test/stand/shelf"
VERSION = "1.0.0"
USE = f'terraform {{\n  required_providers {{\n    shelf = {{ source = "{SOURCE}" }}\n  }}\n}}\n'


class Shelf(Provider):  # type: ignore[misc]  # the tf package ships no types
    """The provider; its one argument is the folder."""

    folder = Path()

    def get_model_prefix(self) -> str:
        return "shelf_"

    def full_name(self) -> str:
        return SOURCE

    def get_provider_schema(self, diags: Any) -> Schema:  # noqa: ARG002 - the interface's argument
        return Schema(attributes=[Attribute("folder", String(), required=True)])

    def validate_config(self, diags: Any, config: dict[str, Any]) -> None:
        """Every folder is fine."""

    def configure_provider(self, diags: Any, config: dict[str, Any]) -> None:  # noqa: ARG002 - the interface's argument
        self.folder = Path(config["folder"])

    def get_resources(self) -> list[Any]:
        return [Item, Thing]

    def get_data_sources(self) -> list[Any]:
        return [Look]


class Item(Resource):  # type: ignore[misc]  # as above
    """One file: its name says which object, its content is the object. Another `kind` replaces it."""

    def __init__(self, provider: Shelf) -> None:
        self._provider = provider

    @classmethod
    def get_name(cls) -> str:
        return "item"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(
            attributes=[
                Attribute("id", String(), computed=True),
                Attribute("name", String(), required=True),
                Attribute("content", String(), optional=True),
                Attribute("kind", String(), optional=True, requires_replace=True),
            ],
            version=1,
        )

    def _path(self, state: dict[str, Any]) -> Path:
        return self._provider.folder / f"{state['id']}.item"

    def _fails(self, ctx: Any, operation: str, name: str) -> bool:
        if not (self._provider.folder / f"fail-{operation}-{name}").exists():
            return False
        ctx.diagnostics.add_error(f"{operation} of {name} failed", "the shelf was told to fail")
        return True

    def create(self, ctx: Any, planned: dict[str, Any]) -> dict[str, Any] | None:
        if self._fails(ctx, "create", planned["name"]):
            return None
        made = {**planned, "id": f"{planned['name']}-{uuid.uuid4().hex[:8]}"}
        self._path(made).write_text(made["content"] or "")
        return made

    def read(self, ctx: Any, current: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002 - the interface's
        path = self._path(current)
        return {**current, "content": path.read_text() or None} if path.exists() else None

    def update(self, ctx: Any, current: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any] | None:
        if self._fails(ctx, "update", planned["name"]):
            return current
        if not self._path(current).exists():
            return None
        self._path(current).write_text(planned["content"] or "")
        return {**planned, "id": current["id"]}

    def delete(self, ctx: Any, current: dict[str, Any]) -> dict[str, Any] | None:
        if self._fails(ctx, "delete", current["name"]):
            return current
        self._path(current).unlink(missing_ok=True)
        return None

    def plan(self, ctx: Any, current: Any, planned: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - as above
        return planned

    def import_(self, ctx: Any, id: str) -> dict[str, Any] | None:  # noqa: A002, ARG002 - the interface's own name
        path = self._provider.folder / f"{id}.item"
        if not path.exists():
            return None
        return {"id": id, "name": id.rpartition("-")[0], "content": path.read_text() or None, "kind": None}

    def upgrade(self, ctx: Any, version: int, old: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - as above
        return old


class Thing(Item):
    """The same under another type, and in an older form."""

    @classmethod
    def get_name(cls) -> str:
        return "thing"


class Look(DataSource):  # type: ignore[misc]  # as above
    """How many files there are."""

    def __init__(self, provider: Shelf) -> None:
        self._provider = provider

    @classmethod
    def get_name(cls) -> str:
        return "look"

    @classmethod
    def get_schema(cls) -> Schema:
        return Schema(attributes=[Attribute("id", String(), computed=True), Attribute("seen", String(), computed=True)])

    def read(self, ctx: Any, config: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the interface's argument
        return {**config, "id": "look", "seen": str(len(list(self._provider.folder.glob("*.item"))))}


def install(folder: Path) -> Path:
    """Put the provider into a mirror in `folder`; return the CLI configuration that names it."""
    place = folder / "mirror" / SOURCE / VERSION / _system()
    place.mkdir(parents=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    write_certificate(certificate, key)
    words = [
        sys.executable,
        "-c",
        f"import sys; sys.path[:0] = {sys.path!r}; from tests.matrix.shelf import main; main()",
    ]
    launcher = place / f"terraform-provider-shelf_v{VERSION}"
    launcher.write_text(f"#!/bin/sh\nexec {shlex.join([*words, str(certificate), str(key)])}\n")
    launcher.chmod(0o700)
    configuration = folder / "cli.rc"
    configuration.write_text(
        "disable_checkpoint = true\nprovider_installation {\n"
        f'  filesystem_mirror {{\n    path = "{folder / "mirror"}"\n  }}\n}}\n'
    )
    return configuration


def _system() -> str:
    """Return what Terraform calls this machine."""
    machine = platform.machine()
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return f"{platform.system().lower()}_{names.get(machine, machine)}"


class _Legacy(plugin._Servicer):
    """Says what providers of the old SDK say."""

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        answer = super().ApplyResourceChange(request, context)
        answer.legacy_type_system = True
        return answer


def main() -> None:
    """Serve Terraform."""
    plugin._Servicer = _Legacy  # type: ignore[misc]  # only in this process
    plugin.run(Shelf(), stopping=threading.Event(), certificate=Path(sys.argv[1]), key=Path(sys.argv[2]))
