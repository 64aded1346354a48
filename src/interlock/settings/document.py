"""The shape of interlock.yaml: models, their JSON Schema, and the step to plain settings.

Imported only when there is a file to read, since pydantic costs 50 ms of start-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from interlock.errors import UsageError
from interlock.settings.policies import MAX_POLICIES, PolicySection, policy_keys_at
from interlock.settings.values import parse_duration


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
    protected: bool = Field(
        default=False, description="Plans that delete need --allow-destroy, or a reviewed interlock.deletions.json."
    )
    max_deletes: int | None = Field(default=None, ge=0, description="Most deletions of one apply.")
    environment: str | None = Field(default=None, description="CI environment with approvals and secrets.")
    depends_on: list[str] = Field(default=[], description="States whose roots are applied before this one.")
    reads: list[str] = Field(
        default=[], description="Further files that its plan reads, relative to this file; `*` stands for anything."
    )


class Run(_Section):
    """How runs wait and hold."""

    wait: Duration | None = Field(default=None, description="Longest wait for a turn, such as 30m.")
    lease: Duration | None = Field(default=None, description="Silence after which recovery may begin.")
    heartbeat: Duration | None = Field(default=None, description="How often a holder renews its lease.")
    max_deletes: int | None = Field(
        None, ge=0, description="Most deletions of one apply, where the state does not say."
    )
    protect_terraform: Literal["auto", "always", "never"] | None = Field(
        None,
        description="Whether Terraform is kept from signals to whole process trees (docs/explanation/ci-signals.md).",
    )


class Gateway(_Section):
    """The API gateway of runs."""

    enabled: bool | None = Field(default=None, description="false: runs reach the API by themselves.")
    region: str | None = Field(default=None, description="Region of the organisation, such as eu-central-1.")
    upstream_api: str | None = Field(default=None, description="Where API calls go, instead of the region's host.")
    upstream_login: str | None = Field(
        default=None, description="Where tokens come from, instead of the region's host."
    )
    tokens: int | None = Field(default=None, ge=1, le=50, description="Most upstream tokens; 10 by default.")
    hold: Duration | None = Field(default=None, description="Longest wait before a 429; 8s by default, at most 12s.")
    budgets: dict[str, str] | None = Field(default=None, description="Limits of your own: `token: 300/60s`.")


class Noise(_Section):
    """One kind of difference that is not drift."""

    type: str = Field(default="*", description="Resource type; `*` and `?` are wildcards.")
    attribute: str = Field(default="*", description="Attribute, such as `description` or `members*`.")
    address: str = Field(default="*", description="Address in the state.")
    equal: Literal["empty", "number", "json", "case", "trim", "order", "instant", "anything"] = Field(
        description="In what sense the two values are the same."
    )
    reason: str = Field(min_length=1, description="Why this is not drift; reports repeat it.")


class Drift(_Section):
    """What counts as drift, and what an apply may revert."""

    gate: bool = Field(default=False, description="Applies revert drift only where somebody decided so.")
    noise: list[Noise] = Field(default=[], description="Differences that are not drift.")
    unmanaged: list[str] = Field(
        default=[], description="Resource types whose unmanaged objects a scan looks for; `all` for all."
    )


class Encryption(_Section):
    """Where the key is that encrypts what the store keeps."""

    key_file: str | None = Field(default=None, description="File with the key, readable by its owner alone.")
    key_command: str | None = Field(
        default=None, description="Command that prints the key, such as one of a KMS; no shell reads it."
    )


class Document(_Section):
    """interlock.yaml."""

    version: Literal[1] = Field(default=1, description="Version of this file's format.")
    home: str | None = Field(default=None, description="Where embedded mode keeps its data.")
    server: str | None = Field(
        default=None,
        description="Interlock server, for `interlock ci` alone; runs refuse it so far.",
    )
    terraform: str | None = Field(default=None, description="Terraform or OpenTofu binary.")
    run: Run = Field(default=Run(), description="How runs wait and hold.")
    states: dict[str, State] = Field(default={}, description="States by name.")
    gateway: Gateway = Field(default=Gateway(), description="The API gateway of runs.")
    pipeline: dict[str, Any] = Field(default={}, description="What `interlock ci generate` writes.")

    drift: Drift = Field(default=Drift(), description="Drift scans and the drift gate of applies.")
    encryption: Encryption = Field(default=Encryption(), description="The key that encrypts the store.")
    policies: list[PolicySection] = Field(
        default=[], max_length=MAX_POLICIES, description="What may change when, and who must agree."
    )

    @classmethod
    def keys_at(cls, location: Sequence[int | str]) -> list[str]:
        """Return the valid keys of the mapping at `location`, for a suggestion."""
        sections: dict[str, type[BaseModel]] = {
            "run": Run,
            "states": State,
            "gateway": Gateway,
            "drift": Drift,
            "encryption": Encryption,
        }
        if list(location[:1]) == ["policies"]:
            return policy_keys_at(location)
        if "noise" in location:
            return list(Noise.model_fields)
        model: type[BaseModel] = sections.get(str(location[0]), cls) if location else cls
        return list(model.model_fields)

    def settings(self, base: Path) -> dict[str, object]:
        """Return the values that were given, by setting name; paths are resolved against `base`.

        States are the values that were given of each, by its name.
        """
        found: dict[str, object] = {
            "home": base / Path(self.home).expanduser() if self.home else None,
            "server": self.server,
            "terraform": _program(self.terraform, base),
            "wait_s": self.run.wait,
            "lease_s": self.run.lease,
            "heartbeat_s": self.run.heartbeat,
            "max_deletes": self.run.max_deletes,
            "protect_terraform": self.run.protect_terraform,
            "states": {name: _state(state, base) for name, state in self.states.items()} or None,
            "sections": {
                "gateway": self.gateway.model_dump(exclude_none=True),
                "pipeline": self.pipeline,
                "drift": self.drift.model_dump(exclude_defaults=True),
                "encryption": _encryption(self.encryption, base),
            },
        }
        return {name: value for name, value in found.items() if value is not None}


def _program(terraform: str | None, base: Path) -> str | None:
    """Return the program's name, or its path: one with a slash is meant from the file on."""
    return str(base / Path(terraform).expanduser()) if terraform and "/" in terraform else terraform


def _encryption(encryption: Encryption, base: Path) -> dict[str, str]:
    said: dict[str, str] = encryption.model_dump(exclude_none=True)
    return {**said, "key_file": str(base / Path(said["key_file"]).expanduser())} if "key_file" in said else said


def _state(state: State, base: Path) -> dict[str, object]:
    """Return what the file says of a state, and nothing that it leaves open: another file may say that."""
    said: dict[str, object] = state.model_dump(exclude_unset=True, exclude_none=True)
    for name in ("depends_on", "reads"):
        if name in said:
            said[name] = tuple(getattr(state, name))
    return {**said, "directory": base / state.directory} if state.directory is not None else said


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of interlock.yaml."""
    return Document.model_json_schema()
