"""Real `interlock` commands with the real provider, and configurations that come in two versions."""

from __future__ import annotations

import json
import re
import wave
from collections import Counter
from pathlib import Path
from typing import Any

from tests.desk import Answer, Desk

from interlock.clock import SystemClock
from interlock.simulator import DEFAULT_CLIENT, Moment
from interlock.simulator.asgi import Served

CONFIGURATIONS = Path(__file__).parent / "configurations"
ROOMS = tuple(sorted(path.stem for path in CONFIGURATIONS.glob("*.tf")))
HEAD = """
terraform {
  required_providers {
    genesyscloud = { source = "mypurecloud/genesyscloud" }
  }
}
provider "genesyscloud" {
  token_pool_size = 3
}
"""
STEP_S = 900.0  # the provider asks for five minutes before it believes that an object is gone
_TYPE = re.compile(r'^resource "(\w+)"', re.MULTILINE)

# Where an import is not by id alone.
_IMPORT_IDS = {"genesyscloud_routing_email_route": "{domain_id}/{id}"}


def write_sound(path: Path, version: int) -> None:
    """Write a WAVE file of half a second, another for each version."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(version.to_bytes(2, "little") * 4000)


def types_of(room: str) -> set[str]:
    """Return the resource types in a configuration."""
    return set(_TYPE.findall((CONFIGURATIONS / f"{room}.tf").read_text()))


class Trial:
    """Commands in front of one organisation.

    Args:
        folder: Where everything is.
        served: The organisation.
        provider: The folder with the provider.
    """

    def __init__(self, folder: Path, served: Served, provider: Path) -> None:
        self.simulation = served.simulation
        self.port = served.port
        config = folder / "terraform.rc"
        config.write_text(
            "provider_installation {\n"
            f'  dev_overrides {{ "mypurecloud/genesyscloud" = {json.dumps(str(provider))} }}\n'
            "  direct {}\n}\n"
        )
        self.desk = Desk(
            folder,
            {
                "TF_CLI_CONFIG_FILE": str(config),
                "INTERLOCK_UPSTREAM_API": served.url,
                "INTERLOCK_UPSTREAM_LOGIN": served.url,
                "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
                "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
                "GENESYSCLOUD_REGION": "us-east-1",
                "NO_COLOR": "1",
            },
        )

    def write(self, text: str, name: str = "module") -> Path:
        """Write a root module."""
        return self.desk.module(name, HEAD + text)

    def room(self, room: str, version: int = 1, name: str = "module", more: str = "") -> Path:
        """Write one of the configurations, in its first or second version."""
        text = (CONFIGURATIONS / f"{room}.tf").read_text()
        if version != 1:
            text = text.replace('"V1', f'"V{version}').replace("v1 ", f"v{version} ")
        module = self.write(text + more, name)
        write_sound(module / "hello.wav", version)
        return module

    def run(self, command: str, module: Path, *words: object, state: str = "s") -> Answer:
        """Run a command of a state to its end."""
        started = self.desk.start(command, module, "--state", state, *words)
        out, err = started.process.communicate(timeout=STEP_S)
        started.answer = Answer(started.process.returncode, out, err)
        return started.answer

    def applied(self, module: Path, *words: object, state: str = "s") -> Answer:
        """Apply, and hold that it went well."""
        answer = self.run("apply", module, "--auto-approve", *words, state=state)
        assert answer.code == 0, answer.err[-6000:]
        return answer

    def unchanged(self, module: Path, state: str = "s") -> None:
        """Hold that a plan finds nothing to do."""
        answer = self.run("plan", module, "--detailed-exitcode", state=state)
        assert answer.code == 0, answer.err[-6000:]

    def resources(self, state: str = "s") -> list[dict[str, Any]]:
        """Return the managed instances of the state: address, type and attributes."""
        written = self.desk.run("state", "pull", state).out
        document = json.loads(written) if written.strip() else {"resources": []}
        return [
            {"type": each["type"], "address": f"{each['type']}.{each['name']}", **instance}
            for each in document["resources"]
            if each["mode"] == "managed"
            for instance in each["instances"]
        ]

    def imports(self, state: str = "s") -> str:
        """Return an import block for each object of the state."""
        return "\n".join(
            f'import {{\n  to = {each["address"]}\n  id = "{_import_id(each)}"\n}}' for each in self.resources(state)
        )

    def calls(self, method: str = "", status: int = 0) -> Counter[str]:
        """Return how often each path was asked, of one method and status where named."""
        return Counter(
            entry.path
            for entry in tuple(self.simulation.journal)
            if method in ("", entry.method) and status in (0, entry.status)
        )

    @staticmethod
    def moment() -> Moment:
        """Return now, as the served organisation counts time."""
        clock = SystemClock()
        return Moment(at=clock.now(), elapsed_s=clock.monotonic())

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind in the organisation."""
        return [item["name"] for item in self.simulation.snapshot()[kind]]


def _import_id(each: dict[str, Any]) -> str:
    return _IMPORT_IDS.get(each["type"], "{id}").format(**each["attributes"])
