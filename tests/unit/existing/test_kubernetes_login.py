from __future__ import annotations

import json
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.clock import SystemClock
from interlock.errors import AuthenticationFailed, BackendUnavailable, UsageError
from interlock.existing import Found, kubernetes_login
from interlock.existing.kubernetes import open_kubernetes
from interlock.existing.kubernetes_login import KubernetesLogin, cluster_of
from interlock.simulator.certificate import Certificate, make_certificate
from interlock.testing.answers import AnswerServer, answer_server
from interlock.testing.clock import FakeClock
from interlock.testing.kubernetes_double import KubernetesApi

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def found(**settings: Any) -> Found:
    return Found(type="kubernetes", settings={"secret_suffix": "app", **settings})


def login(settings: Found, clock: FakeClock | None = None) -> KubernetesLogin:
    return KubernetesLogin(cluster_of(settings, {}), settings, clock or FakeClock())


def header(made: KubernetesLogin) -> str:
    request = urllib.request.Request("https://k/")
    made.sign(request, b"")
    return str(request.get_header("Authorization"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), SystemClock().now())


@pytest.fixture
def api(certificate: Certificate) -> Iterator[AnswerServer]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate.chain)
    tls.load_cert_chain(certificate.chain, certificate.key)
    tls.verify_mode = ssl.CERT_OPTIONAL
    with answer_server(NOW, tls=tls) as server:
        server.answer = KubernetesApi().answer
        yield server


async def test_a_cluster_is_reached_by_https_with_its_own_authority_and_our_certificate(
    api: AnswerServer, certificate: Certificate
) -> None:
    ours = {"client_certificate": certificate.chain.read_text(), "client_key": certificate.key.read_text()}
    authority = {"cluster_ca_certificate": certificate.chain.read_text()}
    settings = found(host=api.url, token="kube-token", **authority, **ours)
    assert await open_kubernetes(settings, clock=SystemClock()).read_state() is None


async def test_a_cluster_whose_certificate_nobody_vouches_for_is_refused_unless_that_is_allowed(
    api: AnswerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interlock.existing.rest.ATTEMPTS", 1)
    with pytest.raises(BackendUnavailable) as raised:
        await open_kubernetes(found(host=api.url, token="kube-token"), clock=SystemClock()).read_state()
    assert "certificate" in raised.value.why
    trusting = found(host=api.url, token="kube-token", insecure="true")
    assert await open_kubernetes(trusting, clock=SystemClock()).read_state() is None


@pytest.mark.promise("P10")
def test_over_plain_http_only_what_the_settings_say_is_sent_as_kubernetes_own_client_does(tmp_path: Path) -> None:
    config = tmp_path / "config"
    user = {"name": "c", "user": {"token": "hush"}}
    named = {"name": "c", "context": {"cluster": "c", "user": "c"}}

    def of(server: str, **settings: str) -> str:
        clusters = [{"name": "c", "cluster": {"server": server}}]
        document = {"current-context": "c", "contexts": [named], "users": [user], "clusters": clusters}
        config.write_text(json.dumps(document))
        return header(login(found(config_path=str(config), **settings)))

    assert of("https://k") == "Bearer hush"
    assert of("http://k") == "None"
    assert of("http://k", token="given") == "Bearer given"


def test_a_login_program_is_asked_again_when_its_token_ends(tmp_path: Path) -> None:
    program = tmp_path / "login.py"
    program.write_text(
        "import json, os, pathlib\n"
        "count = pathlib.Path(__file__).with_suffix('.count')\n"
        "number = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(number))\n"
        "assert json.loads(os.environ['KUBERNETES_EXEC_INFO'])['kind'] == 'ExecCredential'\n"
        "said = {'token': f'{os.environ[\"PART\"]}{number}', 'expirationTimestamp': os.environ['UNTIL']}\n"
        "print(json.dumps({'kind': 'ExecCredential', 'status': said}))\n"
    )
    clock = FakeClock()
    until = datetime.fromtimestamp(clock.now().timestamp() + 600, UTC).isoformat()
    settings = {"exec.command": sys.executable, "exec.args": [str(program)], "exec.env.PART": "t"}
    made = login(found(host="https://k", **settings, **{"exec.env.UNTIL": until}), clock)
    assert [header(made), header(made)] == ["Bearer t1", "Bearer t1"]
    clock.pass_time(560)
    assert header(made) == "Bearer t2"


@pytest.mark.promise("P10")
def test_a_login_program_that_fails_is_named_and_what_it_printed_is_not() -> None:
    for command, kind in (
        (["-c", "print('hush'); raise SystemExit(3)"], AuthenticationFailed),
        (["-c", "1"], UsageError),
    ):
        settings = {"exec.command": sys.executable, "exec.args": command}
        with pytest.raises(kind) as raised:
            header(login(found(host="https://k", **settings)))
        assert "hush" not in str(raised.value) + raised.value.why
    with pytest.raises(UsageError, match="cannot be run"):
        header(login(found(host="https://k", **{"exec.command": "no-such-program"})))


def test_a_pod_uses_its_own_account_when_told_to_or_when_nothing_else_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_login, "_IN_POD", tmp_path)
    with pytest.raises(UsageError, match="nothing says where"):
        cluster_of(found(), {})
    with pytest.raises(UsageError, match="not a pod"):
        cluster_of(found(in_cluster_config="true"), {})
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    (tmp_path / "token").write_text("pod-token\n")
    for settings in (found(), found(in_cluster_config="true")):
        cluster = cluster_of(settings, pod)
        assert cluster.server == "https://10.0.0.1:443"
        assert header(KubernetesLogin(cluster, settings, FakeClock())) == "Bearer pod-token"


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    with pytest.raises(UsageError, match="cannot be read"):
        cluster_of(found(config_path=str(path)), {})
    path.write_text("{")
    with pytest.raises(UsageError, match="not a configuration"):
        cluster_of(found(config_path=str(path)), {})
    with pytest.raises(UsageError, match="certificates for the cluster"):
        login(found(host="https://k", cluster_ca_certificate="no")).context()


def test_several_files_are_given_as_a_list_or_as_a_path_and_those_that_are_absent_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text('{"clusters": [{"name": "c", "cluster": {"server": "https://k"}}]}')
    for paths in ([str(tmp_path / "no"), str(path)], f"{tmp_path / 'no'}:{path}"):
        assert cluster_of(found(config_paths=paths, config_context_cluster="c"), {}).server == "https://k"
