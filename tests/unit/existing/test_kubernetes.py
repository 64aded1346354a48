from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from interlock.errors import AuthenticationFailed, LockHeld, UsageError
from interlock.existing import Found, TerraformLockMoved, kubernetes
from interlock.existing.kubernetes import KubernetesBackend, open_kubernetes, place_of, shown_address
from interlock.existing.packed import unpack
from interlock.terraform.lockinfo import build_lock_info, render_lock_info
from interlock.testing.answers import AnswerServer, Call, Told, answer_server
from interlock.testing.clock import FakeClock
from interlock.testing.kubernetes_double import KubernetesApi

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
OURS = build_lock_info(id="ours", operation="OperationTypeApply", who="me@here", version="", now=NOW)
THEIRS = build_lock_info(id="theirs", operation="OperationTypeApply", who="ann@there", version="", now=NOW)
SECRET = "tfstate-default-app"


class Impatient(FakeClock):
    async def sleep(self, wait_s: float) -> None:
        self.pass_time(wait_s)


@pytest.fixture
def api() -> Iterator[AnswerServer]:
    with answer_server(NOW) as api:
        yield api


@pytest.fixture
def cluster(api: AnswerServer) -> KubernetesApi:
    made = KubernetesApi()
    api.answer = made.answer
    return made


def found(api: AnswerServer, **more: Any) -> Found:
    settings = {"secret_suffix": "app", "namespace": "default", "host": api.url, "token": "kube-token"}
    return Found(type="kubernetes", settings={**settings, **more})


@pytest.fixture
def backend(api: AnswerServer, cluster: KubernetesApi) -> KubernetesBackend:
    return open_kubernetes(found(api), clock=Impatient())


def losing(api: AnswerServer, cluster: KubernetesApi, method: str) -> None:
    """Do the next call of this method, and lose its answer."""
    lost: list[Call] = []

    def answer(call: Call) -> Told:
        told = cluster.answer(call)
        if call.method == method and not lost:
            lost.append(call)
            return Told(status=503)
        return told

    api.answer = answer


def noise(size: int) -> bytes:
    """Bytes that cannot be packed."""
    return random.Random(size).randbytes(size)


async def test_the_lock_is_named_by_its_holder_and_says_who_that_is(backend: KubernetesBackend) -> None:
    held = await backend.take_lock(THEIRS)
    (lock,) = await backend.read_locks()
    assert (lock.id, lock.who, lock.place) == ("theirs", "ann@there", f"Lease lock-{SECRET} in namespace default")
    with pytest.raises(LockHeld, match="ann@there"):
        await backend.take_lock(OURS)
    await backend.give_lock(held)
    assert await backend.read_locks() == ()
    again = await backend.take_lock(OURS)
    assert [one.who for one in await backend.read_locks()] == ["me@here"], "the Lease itself stayed"
    await backend.give_lock(again)


@pytest.mark.promise("P5")
async def test_a_lock_that_was_taken_anew_is_not_deleted(backend: KubernetesBackend) -> None:
    held = await backend.take_lock(OURS)
    (lock,) = await backend.read_locks()
    await backend.give_lock(held)
    await backend.take_lock(THEIRS)
    with pytest.raises(TerraformLockMoved, match="not there"):
        await backend.delete_lock(lock)
    assert [one.id for one in await backend.read_locks()] == ["theirs"]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_answer_that_was_lost_leaves_one_lock_and_then_none(
    api: AnswerServer, backend: KubernetesBackend, cluster: KubernetesApi, method: str
) -> None:
    losing(api, cluster, method)
    held = await backend.take_lock(OURS)
    assert [lock.raw for lock in await backend.read_locks()] == [render_lock_info(OURS)]
    await backend.give_lock(held)
    assert not cluster.is_locked()


@pytest.mark.promise("P3")
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_write_replaces_exactly_what_was_read(
    api: AnswerServer, backend: KubernetesBackend, cluster: KubernetesApi, method: str
) -> None:
    losing(api, cluster, method)
    first = await backend.write_state(b"one", expected=None)
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(b"zero", expected=None)
    second = await backend.write_state(b"two", expected=first)
    with pytest.raises(TerraformLockMoved, match="changed"):
        await backend.write_state(b"three", expected=first)
    assert unpack((cluster.data(SECRET) or {})["tfstate"]) == second.body == b"two"


@pytest.mark.promise("P3", "P6")
async def test_a_large_state_is_kept_in_parts_in_their_order_and_a_smaller_one_leaves_none(
    api: AnswerServer, backend: KubernetesBackend, cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "_PIECE_BYTES", 1000)
    large = noise(12_500)
    first = await backend.write_state(large, expected=None)
    assert first.body == large
    assert len([key for key in cluster.objects if key[1] == "secrets"]) == 13, "part 10 comes after part 9"
    second = await backend.write_state(noise(2_500), expected=first)
    assert len([key for key in cluster.objects if key[1] == "secrets"]) == 3
    with pytest.raises(TerraformLockMoved):
        await backend.write_state(noise(11_000), expected=first)
    assert await backend.read_state() == second
    assert await backend.workspaces() == ("default",)


@pytest.mark.promise("P6")
async def test_a_state_of_which_a_writer_left_only_a_part_is_shown_as_it_is_and_can_be_replaced(
    api: AnswerServer, backend: KubernetesBackend, cluster: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "_PIECE_BYTES", 1000)
    first = await backend.write_state(noise(3_500), expected=None)

    def killed(call: Call) -> Told:
        return Told(status=403) if call.method == "PUT" and call.path.endswith("-part-1") else cluster.answer(call)

    api.answer = killed
    with pytest.raises(AuthenticationFailed):
        await backend.write_state(noise(3_600), expected=first)
    api.answer = cluster.answer
    torn = await backend.read_state()
    assert torn is not None
    assert torn.body not in {first.body, noise(3_600)}
    assert (await backend.write_state(first.body, expected=torn)).body == first.body


async def test_a_secret_that_an_init_left_without_a_state_is_none_and_is_filled(
    api: AnswerServer, backend: KubernetesBackend, cluster: KubernetesApi
) -> None:
    labels = dict(backend.place.labels)
    made = {"metadata": {"name": SECRET, "labels": labels}, "kind": "Secret", "apiVersion": "v1"}
    secrets = "/api/v1/namespaces/default/secrets"
    sent = {"authorization": "Bearer kube-token"}
    assert cluster.answer(Call(method="POST", path=secrets, headers=sent, body=json.dumps(made).encode())).status == 201
    assert await backend.read_state() is None
    assert await backend.workspaces() == ()
    assert (await backend.write_state(b"one", expected=None)).body == b"one"


async def test_labels_of_the_configuration_are_looked_for_and_given(api: AnswerServer, cluster: KubernetesApi) -> None:
    backend = open_kubernetes(found(api, **{"labels.team": "cc", "labels.tfstateWorkspace": "x"}), clock=Impatient())
    await backend.write_state(b"one", expected=None)
    made = cluster.objects["default", "secrets", SECRET]
    assert made["metadata"]["labels"] == {
        "tfstate": "true",
        "tfstateSecretSuffix": "app",
        "tfstateWorkspace": "x",
        "app.kubernetes.io/managed-by": "terraform",
        "team": "cc",
    }


def test_each_cluster_namespace_and_workspace_is_a_place_of_its_own(api: AnswerServer) -> None:
    green = Found(type="kubernetes", settings=found(api, namespace="cc").settings, workspace="green")
    host = api.url.removeprefix("http://")
    assert shown_address(green) == f"kubernetes://{host}/cc/tfstate-green-app"
    assert shown_address(found(api)) == f"kubernetes://{host}/default/{SECRET}"


@pytest.mark.parametrize("suffix", [None, "App", "a_b", "app-2", "-", "x" * 250])
def test_a_suffix_that_names_no_secret_is_refused(api: AnswerServer, suffix: str | None) -> None:
    with pytest.raises(UsageError, match=r"secret_suffix|can be named"):
        place_of(found(api, secret_suffix=suffix))


async def test_a_refused_token_is_said_with_a_command_that_shows_the_rights(
    api: AnswerServer, cluster: KubernetesApi
) -> None:
    with pytest.raises(AuthenticationFailed, match="refused") as raised:
        await open_kubernetes(found(api, token="old"), clock=Impatient()).read_state()
    assert raised.value.fix.startswith("kubectl auth can-i --list --namespace default")
