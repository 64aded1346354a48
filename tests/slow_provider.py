"""A Terraform provider whose objects take as long to make as they are told, whatever Terraform wishes meanwhile.

`slow_thing` has `name` and `seconds`; while there is a file `gate` in the folder that SLOW_THINGS names, none is ready.
What is begun and what is really made is written there, so a test knows what exists whatever the state says. A signal
ends the process at once, as it ends the real Genesys Cloud provider; Terraform's own request to stop does not.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from pathlib import Path
from typing import Any

from interlock.simulator.provider.install import write_certificate

_SOURCE = "interlock-test/slow"
_PROGRAM = "terraform-provider-slow"
_VERSION = "1.0.0"
_LIMIT_S = 60.0  # a gate that a failed test left closed
_LOOK_S = 0.02

MODULE = """
terraform {
  required_providers {
    slow = { source = "interlock-test/slow" }
  }
}

variable "seconds" {
  type    = number
  default = 0
}

resource "slow_thing" "made" {
  count   = 5
  name    = "thing-${count.index}"
  seconds = var.seconds
}
"""
"""Five objects that are made at once."""


def install(folder: Path) -> dict[str, str]:
    """Put the provider into `folder`; return the environment in which Terraform and OpenTofu find and use it."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    write_certificate(certificate, key)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    words = [sys.executable, "-P", "-m", "tests.slow_provider", str(certificate), str(key)]
    for registry in ("registry.terraform.io", "registry.opentofu.org"):
        programs = folder / "mirror" / registry / _SOURCE / _VERSION / _platform()
        programs.mkdir(parents=True)
        program = programs / f"{_PROGRAM}_v{_VERSION}"
        program.write_text(f"#!/bin/sh\nPYTHONPATH={shlex.quote(paths)} exec {shlex.join(words)}\n")
        program.chmod(0o700)
    configuration = folder / "terraform.rc"
    configuration.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{folder / "mirror"}"\n  }}\n}}\n'
    )
    return {"TF_CLI_CONFIG_FILE": str(configuration), "SLOW_THINGS": str(folder)}


def begun(folder: Path) -> set[str]:
    """Return the names of the objects that somebody began to make."""
    return _names(folder / "begun")


def made(folder: Path) -> set[str]:
    """Return the names of the objects that exist."""
    return _names(folder / "made")


def is_stopping(folder: Path) -> bool:
    """Say whether Terraform has asked the provider to stop: from then on Terraform begins nothing new."""
    return (folder / "stopping").exists()


class _Stopping(threading.Event):
    """Writes down that Terraform asked to stop."""

    def set(self) -> None:
        (Path(os.environ["SLOW_THINGS"]) / "stopping").touch()
        super().set()


def _names(path: Path) -> set[str]:
    return set(path.read_text().split()) if path.exists() else set()


def _platform() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return f"{os.uname().sysname.lower()}_{machine}"


def _make(name: str, seconds: float) -> None:
    folder = Path(os.environ["SLOW_THINGS"])
    _write(folder / "begun", name)
    until_s = time.monotonic() + _LIMIT_S
    time.sleep(seconds)
    while (folder / "gate").exists() and time.monotonic() < until_s:
        time.sleep(_LOOK_S)
    _write(folder / "made", name)


def _write(path: Path, name: str) -> None:
    with path.open("a") as file:
        file.write(f"{name}\n")


def _provider() -> Any:
    from tf.iface import Provider, Resource
    from tf.schema import Attribute, Schema
    from tf.types import Number, String

    class Thing(Resource):  # type: ignore[misc]  # the tf package ships no types
        def __init__(self, _provider: Any) -> None:
            pass

        @classmethod
        def get_name(cls) -> str:
            return "thing"

        @classmethod
        def get_schema(cls) -> Schema:
            return Schema(
                version=1,
                attributes=[
                    Attribute("id", String(), computed=True),
                    Attribute("name", String(), required=True, requires_replace=True),
                    Attribute("seconds", Number(), required=True),
                ],
            )

        def create(self, _ctx: Any, planned: dict[str, Any]) -> dict[str, Any]:
            _make(str(planned["name"]), float(planned["seconds"]))
            return {**planned, "id": f"id-{planned['name']}"}

        def read(self, _ctx: Any, current: dict[str, Any]) -> dict[str, Any]:
            return current

        def update(self, _ctx: Any, _current: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
            return planned

        def delete(self, _ctx: Any, _current: dict[str, Any]) -> None:
            return None

    class Slow(Provider):  # type: ignore[misc]  # as above
        def get_model_prefix(self) -> str:
            return "slow_"

        def full_name(self) -> str:
            return f"registry.terraform.io/{_SOURCE}"

        def get_provider_schema(self, _diags: Any) -> Schema:
            return Schema(attributes=[])

        def validate_config(self, _diags: Any, _config: Any) -> None:
            return None

        def configure_provider(self, _diags: Any, _config: Any) -> None:
            return None

        def get_resources(self) -> list[Any]:
            return [Thing]

        def get_data_sources(self) -> list[Any]:
            return []

    return Slow()


if __name__ == "__main__":
    from interlock.simulator.provider.plugin import run

    run(_provider(), stopping=_Stopping(), certificate=Path(sys.argv[1]), key=Path(sys.argv[2]))
