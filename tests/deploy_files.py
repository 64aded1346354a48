"""Reads the files in deploy/ as the programs do that they are made for."""

from __future__ import annotations

import functools
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[1] / "deploy"
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of a Dockerfile.

    Attributes:
        name: Such as `RUN`.
        text: What follows it, on one line.
    """

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of a list in JSON, which no shell reads."""
        words: list[str] = json.loads(self.text)
        return words


@functools.cache
def dockerfile() -> list[list[Step]]:
    """Return the stages of the Dockerfile, each beginning with FROM."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    steps = [Step(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]
    starts = [number for number, step in enumerate(steps) if step.name == "FROM"]
    return [steps[start:end] for start, end in zip(starts, [*starts[1:], len(steps)], strict=True)]


def of_image(name: str) -> Step:
    """Return the last instruction of a kind in the stage that becomes the image."""
    return [step for step in dockerfile()[-1] if step.name == name][-1]


def image_environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    return dict(word.split("=", 1) for word in shlex.split(of_image("ENV").text))


@functools.cache
def compose() -> dict[str, Any]:
    """Return compose.yaml, variables at their defaults."""
    text = _VARIABLE.sub(lambda found: found[2], (DEPLOY / "compose.yaml").read_text())
    read: dict[str, Any] = YAML(typ="safe").load(text)
    return read


@functools.cache
def manifests() -> dict[str, dict[str, Any]]:
    """Return the manifests by their kind, without that of kustomize."""
    paths = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    read = [YAML(typ="safe").load(path.read_text()) for path in paths if path.name != "kustomization.yaml"]
    return {each["kind"]: each for each in read}


def unit() -> dict[str, list[str]]:
    """Return the settings of systemd's unit, each with its values."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / "interlock.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found
