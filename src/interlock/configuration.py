"""The shape of interlock.yaml: models, their JSON Schema, and the step to plain settings.

Imported only when there is a file to read, since pydantic costs 50 ms of start-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from interlock.errors import UsageError
from interlock.settings import StateSettings, parse_duration


def _duration(value: object) -> float:
    try:
        return parse_duration(str(value))
    except UsageError as error:
        raise ValueError(str(error)) from None


Duration = Annotated[float, BeforeValidator(_duration, json_schema_input_type=str | float)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class State(_Section):
    """One state and the root module that owns it."""

    directory: str | None = Field(default=None, description="Root module, relative to this file.")
    protected: bool = Field(default=False, description="Plans that delete need --allow-destroy.")
    max_deletes: int | None = Field(default=None, ge=0, description="Most deletions of one apply.")
    environment: str | None = Field(default=None, description="CI environment with approvals and secrets.")


class Run(_Section):
    """How runs wait and hold."""

    wait: Duration | None = Field(default=None, description="Longest wait for a turn, such as 30m.")
    lease: Duration | None = Field(default=None, description="Silence after which recovery may begin.")
    heartbeat: Duration | None = Field(default=None, description="How often a holder renews its lease.")
    max_deletes: int | None = Field(
        None, ge=0, description="Most deletions of one apply, where the state does not say."
    )


class Document(_Section):
    """interlock.yaml."""

    version: Literal[1] = Field(default=1, description="Version of this file's format.")
    home: str | None = Field(default=None, description="Where embedded mode keeps its data.")
    server: str | None = Field(default=None, description="URL of an Interlock server.")
    terraform: str | None = Field(default=None, description="Terraform or OpenTofu binary.")
    run: Run = Field(default=Run(), description="How runs wait and hold.")
    states: dict[str, State] = Field(default={}, description="States by name.")
    gateway: dict[str, Any] = Field(default={}, description="API gateway; see docs/reference/configuration.md.")
    pipeline: dict[str, Any] = Field(default={}, description="What `interlock ci generate` writes.")
    lint: dict[str, Any] = Field(default={}, description="Defaults of `interlock lint`.")

    @classmethod
    def keys_at(cls, location: Sequence[int | str]) -> list[str]:
        """Return the valid keys of the mapping at `location`, for a suggestion."""
        sections: dict[str, type[BaseModel]] = {"run": Run, "states": State}
        model: type[BaseModel] = sections.get(str(location[0]), cls) if location else cls
        return list(model.model_fields)

    def settings(self, base: Path) -> dict[str, object]:
        """Return the values that were given, by setting name; paths are resolved against `base`."""
        found: dict[str, object] = {
            "home": base / self.home if self.home else None,
            "server": self.server,
            "terraform": self.terraform,
            "wait_s": self.run.wait,
            "lease_s": self.run.lease,
            "heartbeat_s": self.run.heartbeat,
            "max_deletes": self.run.max_deletes,
            "states": {name: _state(state, base) for name, state in self.states.items()} or None,
            "sections": {"gateway": self.gateway, "pipeline": self.pipeline, "lint": self.lint},
        }
        return {name: value for name, value in found.items() if value is not None}


def _state(state: State, base: Path) -> StateSettings:
    return StateSettings(
        directory=base / state.directory if state.directory is not None else None,
        protected=state.protected,
        max_deletes=state.max_deletes,
        environment=state.environment,
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of interlock.yaml."""
    return Document.model_json_schema()
