"""What every resource and data source of the provider does around its own API calls.

Reads of a missing object are retried before it is dropped from the state; what was written is read back until the API
shows it; deletions are polled. Source: docs/facts/genesys.md#genesys-26.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias

from tf.iface import DataSource, Resource
from tf.schema import Attribute, Schema
from tf.types import Unknown

from .sdk import ApiError, Patience, Sdk, Stopped
from .session import Session
from .shapes import Blocks, Defaulted, optional, required, settled

State: TypeAlias = dict[str, Any]

FIRST_POLL_S = 0.5
LONGEST_POLL_S = 10.0
RETRY_ATTEMPTS = 10
LONGEST_RETRY_WAIT_S = 0.5 * 10  # 0.5 s steps: 27.5 s in all

_NOT_FOUND = 404


class Managed(Resource):  # type: ignore[misc]  # the tf package ships no types
    """One resource type.

    Attributes:
        kind: Type name without the provider's prefix.
        label: The word in error texts, as the real provider says it.
        fields: The attributes and blocks besides `id`.
        delete_limit_s: How long a deletion may take to show.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    fields: ClassVar[tuple[Attribute | Blocks, ...]]
    delete_limit_s: ClassVar[float] = 30.0

    def __init__(self, provider: Any) -> None:
        self._provider = provider  # validation comes before configuration, so the session may not exist yet

    @property
    def session(self) -> Session:
        """What the configured provider holds."""
        session: Session = self._provider.session
        return session

    @classmethod
    def get_name(cls) -> str:
        """See `tf.iface.AbstractResource`."""
        return cls.kind

    @classmethod
    def get_schema(cls) -> Schema:
        """See `tf.iface.AbstractResource`."""
        attributes = [each for each in cls.fields if not isinstance(each, Blocks)]
        blocks = [each for each in cls.fields if isinstance(each, Blocks)]
        return Schema(attributes=[settled("id"), *attributes], block_types=blocks, version=1)

    @abstractmethod
    def make(self, sdk: Sdk, wanted: State) -> str:
        """Create the object and return its id."""

    def finish(self, sdk: Sdk, identifier: str, wanted: State) -> None:
        """Do what creation needs besides; a failure here leaves a tainted resource."""

    @abstractmethod
    def fetch(self, sdk: Sdk, identifier: str) -> State | None:
        """Return the attributes as the API has them, None when the API says that it is deleted."""

    def alter(self, sdk: Sdk, identifier: str, current: State, wanted: State) -> None:
        """Change the object in place; not called for types whose every attribute replaces."""
        raise NotImplementedError

    @abstractmethod
    def erase(self, sdk: Sdk, identifier: str) -> None:
        """Delete the object."""

    def plan(self, _ctx: Any, current: State, planned: State) -> State:
        """See `tf.iface.Resource`: what is not set has its default, or stays what the API settled."""
        for each in self.fields:
            if isinstance(each, Defaulted) and planned.get(each.name) is None:
                planned[each.name] = each.default
            elif isinstance(each, Blocks) and each.settled and not planned.get(each.name):
                planned[each.name] = current.get(each.name)
        return planned

    def create(self, ctx: Any, planned: State) -> State | None:
        """See `tf.iface.Resource`."""
        identifier = ""
        planned = self._set_alone(planned)
        with self._reported(ctx, "create", planned), self.session.pool.client() as sdk:
            identifier = self.make(sdk, planned)
            self.finish(sdk, identifier, planned)
            return self._read_back(sdk, identifier, planned)
        return {**_without_unknown(planned), "id": identifier} if identifier else None

    def read(self, ctx: Any, current: State) -> State | None:
        """See `tf.iface.Resource`."""
        with self._reported(ctx, "read", current), self.session.pool.client() as sdk:
            fresh = self._patiently(lambda: self.fetch(sdk, current["id"]))
            return None if fresh is None else self._complete(current, fresh, current["id"])
        return current

    def update(self, ctx: Any, current: State, planned: State) -> State | None:
        """See `tf.iface.Resource`."""
        planned = self._set_alone(planned)
        with self._reported(ctx, "update", planned), self.session.pool.client() as sdk:
            self.alter(sdk, current["id"], current, planned)
            return self._read_back(sdk, current["id"], planned)
        return current

    def delete(self, ctx: Any, current: State) -> State | None:
        """See `tf.iface.Resource`."""
        with self._reported(ctx, "delete", current), self.session.pool.client() as sdk:
            self.erase(sdk, current["id"])
            self._wait_until_gone(sdk, current["id"])
            return None
        return current

    def import_(self, ctx: Any, id: str) -> State | None:  # noqa: A002 - the interface's own name
        """See `tf.iface.Resource`."""
        with self._reported(ctx, "import", {"id": id}), self.session.pool.client() as sdk:
            fresh = self.fetch(sdk, id)
            return None if fresh is None else self._complete({}, fresh, id)
        return None

    def retried(self, action: Callable[[], Any], *statuses: int) -> Any:
        """Do `action`, again after each of `statuses`: 10 tries, 27.5 s at most.

        Raises:
            ApiError: Another error, or the tries are used up.
        """
        for attempt in range(1, RETRY_ATTEMPTS):
            try:
                return action()
            except ApiError as error:
                mismatch = "does not match the current version" in str(error)
                if error.status not in statuses and not (error.status == 400 and mismatch):  # noqa: PLR2004 - as written
                    raise
            self.session.pace.wait(min(0.5 * attempt, LONGEST_RETRY_WAIT_S))
        return action()

    def is_gone(self, sdk: Sdk, identifier: str) -> bool:
        """Return whether the API shows the deletion."""
        try:
            return self.fetch(sdk, identifier) is None
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return True

    def _read_back(self, sdk: Sdk, identifier: str, wanted: State) -> State:
        waits, patience = _poll_waits(), Patience(self.session.pace, self.session.retry_limit_s)
        while True:
            fresh = self._patiently(lambda: self.fetch(sdk, identifier))
            mismatch = "the object is gone" if fresh is None else self._mismatch(wanted, fresh)
            if fresh is not None and not mismatch:
                return self._complete(wanted, fresh, identifier)
            if patience.is_over:
                raise ApiError(f"mismatch on attribute {mismatch}", method="GET", path="")
            patience.wait(next(waits))

    def _mismatch(self, wanted: State, fresh: State) -> str:
        for attribute in self.fields:
            value = wanted.get(attribute.name)
            if value is None or value is Unknown or attribute.name not in fresh:
                continue
            if not attribute.type.semantically_equal(value, fresh[attribute.name]):
                return f"{attribute.name}: expected {value!r}, got {fresh[attribute.name]!r}"
        return ""

    def _patiently(self, read: Callable[[], State | None]) -> State | None:
        """Read, retrying a 404 until the retry limit; then the object counts as gone."""
        waits, patience = _poll_waits(), Patience(self.session.pace, self.session.retry_limit_s)
        while True:
            try:
                return read()
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise
                if patience.is_over:
                    return None
            patience.wait(next(waits))

    def _wait_until_gone(self, sdk: Sdk, identifier: str) -> None:
        waits, patience = _poll_waits(), Patience(self.session.pace, self.delete_limit_s)
        while not self.is_gone(sdk, identifier):
            if patience.is_over:
                raise ApiError(f"{self.label} {identifier} still exists", method="GET", path="")
            patience.wait(next(waits))

    def _complete(self, known: State, fresh: State, identifier: str) -> State:
        """Return all attributes: the API's where it has them, else what was known."""
        names = [attribute.name for attribute in self.fields]
        state = {name: fresh[name] if name in fresh else known.get(name) for name in names}
        return {**_without_unknown(state), "id": identifier}

    def _set_alone(self, planned: State) -> State:
        """Return a plan in which blocks that nobody wrote are absent: the API settles them."""
        unwritten = {each.name for each in self.fields if isinstance(each, Blocks) and each.settled}
        return {name: None if name in unwritten and value == [] else value for name, value in planned.items()}

    def _reported(self, ctx: Any, verb: str, state: State) -> _Reported:
        subject = state.get("name") or state.get("email") or state.get("id") or ""
        return _Reported(ctx.diagnostics, f"Failed to {verb} {self.label} {subject} error", self.kind)


class _Reported:
    """Turns failures inside its block into diagnostics; the caller then returns what is left."""

    def __init__(self, diagnostics: Any, summary: str, kind: str) -> None:
        self._diagnostics = diagnostics
        self._summary = summary
        self._kind = kind

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> bool:
        """Swallow what the API or Terraform's Stop caused."""
        match error:
            case ApiError():
                self._diagnostics.add_error(f"{self._summary}: {error}", error.detail(f"genesyscloud_{self._kind}"))
            case Stopped():
                self._diagnostics.add_error(f"{self._summary}: context canceled", "")
            case _:
                return False
        return True


class Lookup(DataSource):  # type: ignore[misc]  # as above
    """A data source that finds one object by name, listing the whole collection once per process.

    Attributes:
        kind: Type name without the provider's prefix.
        label: The word in error texts.
        path: The collection below `/api/v2`.
        key: The argument and the field that are compared.
        other: Another argument that may name the object instead; empty for none.
        narrowing: Arguments that are taken and change nothing here.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    path: ClassVar[str]
    key: ClassVar[str] = "name"
    other: ClassVar[str] = ""
    narrowing: ClassVar[tuple[str, ...]] = ()

    def __init__(self, provider: Any) -> None:
        self._provider = provider  # validation comes before configuration, so the session may not exist yet

    @property
    def session(self) -> Session:
        """What the configured provider holds."""
        session: Session = self._provider.session
        return session

    @classmethod
    def get_name(cls) -> str:
        """See `tf.iface.AbstractResource`."""
        return cls.kind

    @classmethod
    def get_schema(cls) -> Schema:
        """See `tf.iface.AbstractResource`."""
        if cls.other:
            return Schema(attributes=[settled("id"), optional(cls.key), optional(cls.other)])
        return Schema(attributes=[settled("id"), required(cls.key), *map(optional, cls.narrowing)])

    def read(self, ctx: Any, config: State) -> State | None:
        """See `tf.iface.DataSource`."""
        key = self.key if config.get(self.key) or not self.other else self.other
        wanted = config.get(key)
        try:
            found = self.session.listing(self.path, key)
        except ApiError as error:
            ctx.diagnostics.add_error(
                f"Failed to read {self.label} {wanted} error: {error}", error.detail(f"genesyscloud_{self.kind}")
            )
            return None
        identifier = found.get(str(wanted).casefold())
        if identifier is None:
            ctx.diagnostics.add_error(f"No {self.label}s found with {key} {wanted}", "")
            return None
        return {**config, "id": identifier}


def _poll_waits() -> Iterator[float]:
    wait_s = FIRST_POLL_S
    while True:
        yield wait_s
        wait_s = min(wait_s * 2, LONGEST_POLL_S)


def _without_unknown(state: State) -> State:
    return {name: None if value is Unknown else value for name, value in state.items()}
