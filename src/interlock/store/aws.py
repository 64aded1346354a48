"""Calls to AWS: made in threads, repeated while that helps, and their failures named.

A hand. The SDK's own retries are off, since only we know which failures leave the outcome open: after a lost reply a
conditional write must be compared with what is there, see `dynamodb.py` and `s3.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from interlock.clock import Clock
from interlock.errors import BackendUnavailable, InterlockError, UsageError
from interlock.ids import Ids, draw_from
from interlock.store.memory import store_is_closed
from interlock.store.refusals import StoreDenied, StoreUnfit

ATTEMPTS_MAX = 10
RETRY_S_MAX = 30.0
"""Longest time that one call is repeated; then the run ends with exit status 30 instead of hanging."""

THREADS = 16
"""Calls of one store under way at once."""

_BACKOFF_S = 0.1
_BACKOFF_S_MAX = (
    5.0  # full jitter between 0 and this: many runners that were throttled together must not return together
)
_CONNECT_S = 5.0
_READ_S = 20.0  # of one read of the socket, not of the whole answer

_THROTTLES = frozenset(
    {
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "TooManyRequestsException",
        "LimitExceededException",
        "SlowDown",
    }
)
_PASSING = frozenset(
    {
        "InternalError",
        "InternalServerError",
        "ServiceUnavailable",
        "RequestTimeout",
        "RequestTimeoutException",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ConditionalRequestConflict",  # S3: another conditional write of the same object is under way
        "OperationAborted",
    }
)
_DENIED = frozenset(
    {
        "403",  # all that S3 says to a HEAD request
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "MissingAuthenticationTokenException",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_ENDINGS = (".json", ".json.gz")
_ABSENT = frozenset({"ResourceNotFoundException", "NoSuchBucket"})

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsAccess:
    """How to reach AWS; what is None comes from the SDK's usual places (environment, profile, instance role).

    Attributes:
        region: Such as `eu-central-1`.
        profile: A profile of the user's AWS configuration.
        endpoints: Service name (`s3`, `dynamodb`) to URL, for emulators and private endpoints.
        path_style: Address buckets by path, as emulators need it.
        keys: Credentials named by the configuration itself.
        role: A role to assume.
        ca_bundle: A file of certificates to trust instead of the system's.
        config_files: Shared configuration files to read instead of the usual one (the first that exists counts).
        credentials_files: The same for credentials.
    """

    region: str | None = None
    profile: str | None = None
    endpoints: Mapping[str, str] | None = None
    path_style: bool = False
    keys: AwsKeys | None = field(default=None, repr=False)
    role: AwsRole | None = None
    ca_bundle: str | None = None
    config_files: tuple[str, ...] = ()
    credentials_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKeys:
    """Credentials named in a configuration, as discouraged as they are."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsRole:
    """A role to assume with the credentials at hand, or with a web identity token.

    Attributes:
        arn: The role.
        session: Session name.
        external_id: As the role's trust policy wants it.
        token_file: A web identity token; None to assume the role with credentials.
    """

    arn: str
    session: str = "interlock"
    external_id: str | None = None
    token_file: str | None = None


def connect(service: str, access: AwsAccess) -> Any:
    """Make the SDK's client of a service. Takes some 0.2 s; call it in a thread.

    Raises:
        UsageError: boto3 is not installed, or profile or region are not known.
    """
    return connect_all((service,), access)[0]


def connect_all(services: Sequence[str], access: AwsAccess) -> list[Any]:
    """Make the clients of several services, which share what the SDK reads for the first. Raises as `connect`.

    The lower half of the SDK is used alone: the upper one imports twice as much, and offers nothing that we need.
    """
    try:
        import botocore.session  # noqa: F401 - whether it is there
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise UsageError(
            "AWS cannot be used", why="boto3 is not installed", fix="pip install 'interlock[aws]'"
        ) from error
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        max_pool_connections=THREADS,
        s3={"addressing_style": "path" if access.path_style else "auto"},
    )
    try:
        session = _session(access)
        return [
            session.create_client(
                service,
                region_name=access.region,
                endpoint_url=(access.endpoints or {}).get(service),
                config=config,
                verify=access.ca_bundle,
            )
            for service in services
        ]
    except (BotoCoreError, ValueError) as error:
        raise UsageError(
            f"AWS {', '.join(services)} cannot be used",
            why=str(error),
            fix="check region, profile and endpoint: interlock doctor",
        ) from error


def _session(access: AwsAccess) -> Any:
    """Return the SDK's session with the credentials that `access` names."""
    import botocore.session

    inner = botocore.session.Session(profile=access.profile)
    inner.get_component("data_loader").file_loader = _QuickFiles()
    for variable, files in (("config_file", access.config_files), ("credentials_file", access.credentials_files)):
        if found := next((name for name in map(os.path.expanduser, files) if os.path.exists(name)), None):  # noqa: PTH110 - the SDK wants text
            inner.set_config_variable(variable, found)
    if access.keys is not None:
        inner.set_credentials(access.keys.access_key, access.keys.secret_key, access.keys.token)
    if access.role is not None:
        inner._credentials = _assumed(inner, access, access.role)  # noqa: SLF001 - the SDK has no other way in
    return inner


class _QuickFiles:
    """Reads what the SDK knows of its services: some MB of JSON, which take it 0.06 s a start, and this a third."""

    def exists(self, path: str) -> bool:
        """Say whether there is such a file, of any ending."""
        return any(os.path.isfile(path + ending) for ending in _ENDINGS)  # noqa: PTH113 - the SDK asks a thousand times

    def load_file(self, path: str) -> Any:
        """Return the document in the file of this path without ending; None when there is none."""
        import gzip

        import msgspec

        for ending, reads in ((".json", open), (".json.gz", gzip.open)):
            with suppress(FileNotFoundError), reads(path + ending, "rb") as file:
                try:
                    return msgspec.json.decode(file.read())
                except RecursionError:  # a user may have models of their own
                    raise ValueError(f"{path}{ending} is nested too deeply") from None
        return None


def _assumed(session: Any, access: AwsAccess, role: AwsRole) -> Any:
    """Return credentials of a role, fetched when first needed and renewed before they expire."""
    from botocore.credentials import (
        AssumeRoleCredentialFetcher,
        AssumeRoleWithWebIdentityCredentialFetcher,
        DeferredRefreshableCredentials,
        FileWebIdentityTokenLoader,
    )

    def client(service: str, **arguments: Any) -> Any:
        arguments |= {"endpoint_url": (access.endpoints or {}).get(service), "region_name": access.region}
        return session.create_client(service, **arguments)

    more = {"RoleSessionName": role.session, **({"ExternalId": role.external_id} if role.external_id else {})}
    if role.token_file is not None:
        loader = FileWebIdentityTokenLoader(role.token_file)
        fetcher: Any = AssumeRoleWithWebIdentityCredentialFetcher(
            client, loader, role.arn, extra_args={"RoleSessionName": role.session}
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role-with-web-identity")
    fetcher = AssumeRoleCredentialFetcher(client, session.get_credentials(), role.arn, extra_args=more)
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


class Refused(Exception):
    """The service refused a conditional call.

    Attributes:
        code: The service's error code.
        answer: The whole answer.
        may_be_ours: An earlier attempt of this call ended without a reply, so it may be what made this one fail.
    """

    def __init__(self, code: str, answer: Mapping[str, Any], *, may_be_ours: bool) -> None:
        super().__init__(code)
        self.code = code
        self.answer = answer
        self.may_be_ours = may_be_ours


class AwsCaller:
    """Makes the calls of one store.

    Attributes:
        requests: How many requests were sent, by operation; what polling costs is read from here.
    """

    def __init__(self, *, place: str, remedy: str, clock: Clock, ids: Ids) -> None:
        """Remember where calls go.

        Args:
            place: What is called, for messages: `DynamoDB table "locks"`.
            remedy: What to do when it stays throttled.
            clock: For back-off.
            ids: For jitter.
        """
        self.requests: Counter[str] = Counter()
        self._place = place
        self._remedy = remedy
        self._clock = clock
        self._ids = ids
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="interlock-aws")
        self._awaited: set[Future[Any]] = set()
        self._closed = False
        self._server_at_s: tuple[float, float] | None = None

    def server_time_s(self) -> float | None:
        """Return what the service's clock says now, in seconds since 1970; None before its first answer."""
        if self._server_at_s is None:
            return None
        said_s, at_s = self._server_at_s
        return said_s + self._clock.monotonic() - at_s

    async def call(
        self, operation: Callable[..., Any], *, answers: frozenset[str] = frozenset(), **arguments: Any
    ) -> dict[str, Any]:
        """Call an operation of a client, again after throttles and lost replies.

        Args:
            operation: A bound method of the SDK's client.
            answers: Error codes that are answers to the caller: they are raised as `Refused`.
            arguments: Of the operation.

        Raises:
            Refused: The service answered with one of `answers`.
            BackendUnavailable: It stayed throttled or unreachable.
            AuthenticationFailed: Credentials are missing, wrong or expired, or lack the permission.
            UsageError: The table or bucket does not exist, or the request is not valid there.
        """
        until = self._clock.monotonic() + RETRY_S_MAX
        may_be_ours = False
        for attempt in range(1, ATTEMPTS_MAX + 1):
            answer = await self._attempt(operation, arguments)
            if answer.value is not None:
                return answer.value
            if answer.code in answers and not answer.passes:
                raise Refused(answer.code, answer.details, may_be_ours=may_be_ours)
            wait_s = self._backoff_s(attempt)
            if not answer.passes or attempt == ATTEMPTS_MAX or self._clock.monotonic() + wait_s > until:
                raise self._failure(answer, attempt) from answer.error
            may_be_ours = may_be_ours or answer.is_open
            await self._clock.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def fraction(self) -> float:
        """Return a number from 0 up to 1, by chance."""
        return self.draw(53) / 2**53

    def draw(self, bits: int) -> int:
        """Return a number of so many bits (at most 256), by chance."""
        return draw_from(self._ids)(bits)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run something in one of the threads."""
        self.check_open()
        call = self._threads.submit(work)
        self._awaited.add(call)
        try:
            return await asyncio.wrap_future(call)
        finally:
            self._awaited.discard(call)

    def check_open(self) -> None:
        """Refuse when closed.

        Raises:
            UsageError: After `close`.
        """
        if self._closed:
            raise store_is_closed()

    async def close(self) -> None:
        """Finish the calls that somebody waits for, and end the threads.

        One that was called off may go on for as long as a network is silent; nobody hears its answer.
        """
        self._closed = True
        await asyncio.to_thread(wait, tuple(self._awaited))
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _attempt(self, operation: Callable[..., Any], arguments: dict[str, Any]) -> _Answer:
        self.requests[getattr(operation, "__name__", "call")] += 1
        answer = await self.run(lambda: _attempted(operation, arguments))
        self._hear_time(answer.value or answer.details)
        return answer

    def _hear_time(self, answer: Mapping[str, Any]) -> None:
        said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if said:
            with suppress(ValueError, TypeError):
                self._server_at_s = (parsedate_to_datetime(said).timestamp(), self._clock.monotonic())

    def _backoff_s(self, attempt: int) -> float:
        return self.fraction() * min(_BACKOFF_S_MAX, _BACKOFF_S * 2.0**attempt)

    def _failure(self, answer: _Answer, attempts: int) -> InterlockError:
        code, said = answer.code, answer.said
        if code in _DENIED or answer.is_denied:
            return StoreDenied(
                f"{self._place} refused our credentials",
                why=f"{code}: {said}",
                fix="renew the credentials, or grant the permission: interlock doctor",
                code=code,
            )
        if code in _ABSENT:
            return StoreUnfit(
                f"{self._place} does not exist",
                why=f"{code}: {said}",
                fix="create it: interlock bootstrap aws",
                code=code,
            )
        if code in _THROTTLES:
            return BackendUnavailable(
                f"{self._place} is throttled", why=f"{code} on {attempts} attempts", fix=self._remedy, code=code
            )
        if answer.passes:
            return BackendUnavailable(
                f"{self._place} cannot be reached",
                why=f"{code} on {attempts} attempts: {said}",
                fix="check network, region and endpoint: interlock doctor",
                code=code,
            )
        return StoreUnfit(
            f"{self._place} does not accept our request",
            why=f"{code}: {said}",
            fix="check it: interlock doctor",
            code=code,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """How one attempt ended.

    Attributes:
        value: The result, None when the attempt failed.
        code: The service's error code, or the SDK's name of the failure.
        said: What it said, without secrets.
        details: The whole answer of the service.
        passes: The failure may pass, so trying again makes sense.
        is_open: Nobody knows whether the call had its effect.
        is_denied: There are no usable credentials.
        error: The cause.
    """

    value: dict[str, Any] | None = None
    code: str = ""
    said: str = ""
    details: Mapping[str, Any]
    passes: bool = False
    is_open: bool = False
    is_denied: bool = False
    error: Exception | None = None


def _attempted(operation: Callable[..., Any], arguments: dict[str, Any]) -> _Answer:
    """Call once. Runs in a thread."""
    from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, NoCredentialsError

    try:
        value = operation(**arguments)
        if "Body" in value:  # read here, in the thread, where a broken connection is still ours to repeat
            value["Body"] = value["Body"].read()
    except ClientError as error:
        return _refused(error)
    except (NoCredentialsError, CredentialRetrievalError) as error:
        return _Answer(code=type(error).__name__, said=str(error), details={}, is_denied=True, error=error)
    except (BotoCoreError, OSError) as error:
        return _Answer(
            code=type(error).__name__, said=str(error), details={}, passes=_may_pass(error), is_open=True, error=error
        )
    return _Answer(value=value, details={})


def _refused(error: Any) -> _Answer:
    details = error.response
    code = str(details.get("Error", {}).get("Code", ""))
    status = int(details.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    server_failed = status >= 500 and code not in _THROTTLES  # noqa: PLR2004 - HTTP's own boundary
    return _Answer(
        code=code,
        said=str(details.get("Error", {}).get("Message", ""))[:300],
        details=details,
        passes=server_failed or code in _THROTTLES or code in _PASSING or _is_conflict(details),
        is_open=server_failed,
        error=error,
    )


def _is_conflict(details: Mapping[str, Any]) -> bool:
    """Say whether a transaction was cancelled only because another one was under way or the table was throttled."""
    codes = {reason.get("Code") for reason in details.get("CancellationReasons", ())} - {"None", None}
    return bool(codes) and codes <= {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}


def _may_pass(error: Exception) -> bool:
    from botocore.exceptions import ConnectionError as BotoConnectionError
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    return isinstance(error, BotoConnectionError | HTTPClientError | IncompleteReadError | OSError)
