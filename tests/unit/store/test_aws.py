from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.loaders import JSONFileLoader

from interlock.errors import AuthenticationFailed, BackendUnavailable, InterlockError, UsageError
from interlock.store.aws import ATTEMPTS_MAX, RETRY_S_MAX, AwsAccess, AwsCaller, Refused, _QuickFiles, connect
from interlock.testing.clock import START
from interlock.testing.ids import CountingIds


class _QuickClock:
    """A clock on which sleeping takes no time, and is remembered."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def now(self) -> Any:
        return START

    def monotonic(self) -> float:
        return sum(self.slept_s)

    async def sleep(self, wait_s: float) -> None:
        self.slept_s.append(wait_s)


@pytest.fixture
def clock() -> _QuickClock:
    return _QuickClock()


@pytest.fixture
async def caller(clock: _QuickClock) -> AsyncIterator[AwsCaller]:
    caller = AwsCaller(place='DynamoDB table "locks"', remedy="use on-demand billing", clock=clock, ids=CountingIds())
    yield caller
    await caller.close()


def _error(code: str, *, status: int = 400, **details: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "words"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **details,
    }
    return ClientError(response, "PutItem")


def _failing(*errors: Exception) -> Callable[..., dict[str, Any]]:
    """Return an operation that fails with each of these in turn, and then succeeds."""
    left = list(errors)

    def put_item(**arguments: Any) -> dict[str, Any]:
        if left:
            raise left.pop(0)
        return arguments

    return put_item


THROTTLES = ["RequestLimitExceeded", "ProvisionedThroughputExceededException", "ThrottlingException", "SlowDown"]
TIMEOUT = ReadTimeoutError(endpoint_url="http://x")


@pytest.mark.parametrize("code", THROTTLES)
async def test_a_throttle_is_waited_out(caller: AwsCaller, clock: _QuickClock, code: str) -> None:
    assert await caller.call(_failing(_error(code), _error(code)), Key="k") == {"Key": "k"}
    assert len(clock.slept_s) == 2
    assert caller.requests == {"put_item": 3}


@pytest.mark.parametrize("code", THROTTLES)
async def test_a_throttle_that_stays_ends_with_the_remedy(caller: AwsCaller, clock: _QuickClock, code: str) -> None:
    with pytest.raises(BackendUnavailable) as failure:
        await caller.call(_failing(*[_error(code, status=503)] * 99))
    assert failure.value.exit_status == 30
    assert failure.value.fix == "use on-demand billing"
    assert code in failure.value.why
    assert sum(caller.requests.values()) <= ATTEMPTS_MAX
    assert sum(clock.slept_s) <= RETRY_S_MAX


async def test_pauses_are_drawn_by_chance_and_grow(caller: AwsCaller, clock: _QuickClock) -> None:
    with pytest.raises(BackendUnavailable):
        await caller.call(_failing(*[_error("SlowDown")] * 99))
    assert len(set(clock.slept_s)) == len(clock.slept_s)
    assert clock.slept_s[0] <= 0.2
    assert all(wait_s <= 5.0 for wait_s in clock.slept_s)


@pytest.mark.parametrize(
    "error",
    [
        TIMEOUT,
        ConnectTimeoutError(endpoint_url="http://x"),
        EndpointConnectionError(endpoint_url="http://x"),
        ConnectionResetError(),
        _error("InternalServerError", status=500),
        _error("", status=503),
        _error("ConditionalRequestConflict", status=409),
        _error("TransactionCanceledException", CancellationReasons=[{"Code": "None"}, {"Code": "TransactionConflict"}]),
    ],
    ids=repr,
)
async def test_a_passing_failure_is_tried_again(caller: AwsCaller, error: Exception) -> None:
    cancelled = frozenset({"TransactionCanceledException"})
    assert await caller.call(_failing(error), answers=cancelled, Key="k") == {"Key": "k"}


async def test_an_endpoint_that_stays_away_is_reported(caller: AwsCaller) -> None:
    with pytest.raises(BackendUnavailable, match="cannot be reached") as failure:
        await caller.call(_failing(*[EndpointConnectionError(endpoint_url="http://x")] * 99))
    assert failure.value.fix


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_error("ExpiredTokenException"), AuthenticationFailed),
        (_error("AccessDenied", status=403), AuthenticationFailed),
        (_error("UnrecognizedClientException"), AuthenticationFailed),
        (_error("403", status=403), AuthenticationFailed),
        (NoCredentialsError(), AuthenticationFailed),
        (_error("ResourceNotFoundException"), UsageError),
        (_error("NoSuchBucket", status=404), UsageError),
        (_error("ValidationException"), UsageError),
    ],
    ids=str,
)
async def test_a_lasting_failure_is_reported_at_once(
    caller: AwsCaller, clock: _QuickClock, error: Exception, kind: type[InterlockError]
) -> None:
    with pytest.raises(kind) as failure:
        await caller.call(_failing(error))
    assert failure.value.why
    assert failure.value.fix
    assert failure.value.http_status == 503  # over HTTP: trouble of the server, not of whoever asked it
    assert not clock.slept_s


async def test_an_answer_tells_whether_an_earlier_attempt_may_have_succeeded(caller: AwsCaller) -> None:
    refusal = _error("ConditionalCheckFailedException", Item={"a": 1})
    answers = frozenset({"ConditionalCheckFailedException"})
    for errors, may_be_ours in (
        ([refusal], False),
        ([_error("SlowDown"), refusal], False),
        ([TIMEOUT, refusal], True),
        ([TIMEOUT, _error("SlowDown"), refusal], True),
        ([_error("InternalServerError", status=500), refusal], True),
    ):
        with pytest.raises(Refused) as refused:
            await caller.call(_failing(*errors), answers=answers)
        assert refused.value.may_be_ours is may_be_ours
        assert refused.value.answer["Item"] == {"a": 1}


async def test_a_closed_caller_calls_nothing(caller: AwsCaller) -> None:
    await caller.close()
    with pytest.raises(UsageError):
        await caller.call(_failing())


def test_an_unknown_profile_is_reported_with_three_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(UsageError) as failure:
        connect("s3", AwsAccess(profile="nobody", region="us-east-1"))
    assert failure.value.fix


def test_a_missing_region_is_reported_with_three_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(UsageError) as failure:
        connect("dynamodb", AwsAccess())
    assert failure.value.fix


def test_a_broken_endpoint_is_reported_with_three_parts() -> None:
    with pytest.raises(UsageError) as failure:
        connect("s3", AwsAccess(region="us-east-1", endpoints={"s3": "not a url"}))
    assert failure.value.fix


def test_what_the_sdk_knows_is_read_as_the_sdk_reads_it() -> None:
    own, quick = JSONFileLoader(), _QuickFiles()
    folder = Path(botocore.__file__).parent / "data"
    services = [found for name in ("dynamodb", "s3", "sts") for found in (folder / name).rglob("*.json*")]
    paths = [str(found).removesuffix(".gz").removesuffix(".json") for found in (*folder.glob("*.json"), *services)]
    assert len(paths) > 15
    for path in paths:
        assert quick.exists(path)
        assert quick.load_file(path) == own.load_file(path)
    assert not quick.exists(str(folder / "nothing"))
    assert quick.load_file(str(folder / "nothing")) is None


async def test_closing_waits_for_calls_that_are_awaited_and_for_none_that_was_called_off(caller: AwsCaller) -> None:
    """Ctrl-C was heard only when a service that is silent had been waited for."""
    answer, heard, began = threading.Event(), threading.Event(), threading.Event()

    def silent() -> None:
        began.set()
        answer.wait()

    abandoned = asyncio.create_task(caller.run(silent))
    await asyncio.to_thread(began.wait)
    abandoned.cancel()
    await asyncio.wait({abandoned})
    awaited = asyncio.create_task(caller.run(heard.wait))
    await asyncio.sleep(0)
    closing = asyncio.create_task(caller.close())
    await asyncio.sleep(0)
    assert not closing.done()
    heard.set()
    assert await awaited
    await closing
    answer.set()
