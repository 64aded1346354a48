"""Queues beside a state: two of one home hear each other's changes at once, wherever the queue is kept."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.clock import SystemClock
from interlock.existing import Found
from interlock.existing.opening import open_backend
from interlock.ids import RandomIds
from interlock.site import beside_queue, s3_queue
from interlock.site.kinds import KINDS
from interlock.store.doorbell import Doorbell
from interlock.store.polling import NearPolling, Polling
from interlock.testing.answers import answer_server
from interlock.testing.aws import LocalAws
from interlock.testing.cloud_doubles import AzureBlobs, GoogleStorage
from interlock.testing.consul_double import ConsulAgent
from interlock.testing.home import memory_home

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
PATIENCE_S = 60.0
AN_HOUR = Polling(first_s=3600.0, most_s=3600.0)


@contextmanager
def place(kind: str, aws: LocalAws) -> Iterator[Found]:
    """Give a backend of this kind, and beside it what keeps its queue."""
    if kind in {"s3", "dynamodb"}:
        table = {"dynamodb_table": aws.new_table()} if kind == "dynamodb" else {}
        where = {"bucket": aws.new_bucket(), "key": "k.tfstate", "region": "us-east-1", "workspace_key_prefix": "env:"}
        endpoints = {"endpoints.s3": aws.url, "endpoints.dynamodb": aws.url, "use_path_style": True}
        yield Found(type="s3", settings={**where, **endpoints, **table})
        return
    doubles: dict[str, Any] = {"gcs": GoogleStorage("t"), "azurerm": AzureBlobs(), "consul": ConsulAgent()}
    with answer_server(NOW) as api:
        api.answer = doubles[kind].answer
        container = {"storage_account_name": "acct", "container_name": "states", "key": "app.tfstate"}
        settings: dict[str, dict[str, object]] = {
            "gcs": {"bucket": "b", "storage_custom_endpoint": f"{api.url}/storage/v1/", "access_token": "t"},
            "azurerm": {**container, "blob_endpoint": api.url, "sas_token": "sig=azure-sas"},
            "consul": {"path": "team/app", "address": api.url},
        }
        yield Found(type=kind, settings=settings[kind])


@pytest.mark.promise("P2")
@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
@pytest.mark.parametrize("kind", ["s3", "dynamodb", "gcs", "azurerm", "consul"])
async def test_a_change_by_another_of_the_same_home_is_seen_without_looking(
    kind: str, aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (beside_queue, s3_queue):
        monkeypatch.setattr(module, "NearPolling", lambda: NearPolling(far=AN_HOUR, near=AN_HOUR))
    pausing, rung = asyncio.Event(), Doorbell.rung

    async def told(self: Doorbell, bell: asyncio.Event, *, timeout_s: float) -> None:
        pausing.set()
        await rung(self, bell, timeout_s=timeout_s)

    monkeypatch.setattr(Doorbell, "rung", told)  # it has looked by then, and would look again in an hour
    home = memory_home(tmp_path / "home", clock=SystemClock(), ids=RandomIds())
    home.runs.mkdir(parents=True)
    with place(kind, aws) as found:
        async with AsyncExitStack() as stack:
            queues = []
            for _ in range(2):
                backend = await open_backend(found, tmp_path, clock=home.clock, ids=home.ids)
                stack.push_async_callback(backend.close)
                open_queue = KINDS[found.type].queue
                assert open_queue is not None
                queue = open_queue()(backend, found, home)
                stack.push_async_callback(queue.close)
                queues.append(queue.coordinator)
            one, other = queues
            await other.pause("s", by="bob", reason="first")
            seen = (await one.view("s")).version
            waiting = asyncio.create_task(one.watch("s", seen=seen, timeout_s=PATIENCE_S))
            await asyncio.wait_for(pausing.wait(), PATIENCE_S / 2)
            await other.resume("s", by="bob")
            view = await asyncio.wait_for(waiting, PATIENCE_S / 2)
            assert view.lock.pause is None
