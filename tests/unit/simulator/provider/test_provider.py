import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tf.utils import Diagnostics

from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import Served, serve_in_thread
from interlock.simulator.provider.provider import Genesyscloud, duration_s, upstream_of


@pytest.fixture
def served() -> Iterator[Served]:
    with serve_in_thread(Simulation()) as running:
        yield running


def configure(environment: dict[str, str], config: dict[str, Any]) -> list[str]:
    provider = Genesyscloud(environment, speed=1000.0, stopping=threading.Event())
    diagnostics = Diagnostics()
    provider.configure_provider(diagnostics, config)
    return [diagnostic.summary for diagnostic in diagnostics.diagnostics]


def test_a_block_sets_host_port_protocol_and_the_prefixes_of_both_services() -> None:
    params = [{"path_name": "api", "path_value": "/run/7/"}, {"path_name": "login", "path_value": "l"}]
    block = {"protocol": "http", "host": "h", "port": "8080", "path_params": params}
    upstream = upstream_of([block], {})
    assert (upstream.api.host, upstream.api.port, upstream.api.prefix) == ("h", 8080, "/run/7")
    assert upstream.login.prefix == "/l"


@pytest.mark.parametrize(
    ("protocol", "port", "expected"), [("http", "443", 80), ("https", "80", 443), ("http", "", 80)]
)
def test_ports_80_and_443_are_left_out_whatever_the_protocol(protocol: str, port: str, expected: int) -> None:
    assert upstream_of([{"protocol": protocol, "host": "h", "port": port}], {}).api.port == expected


def test_the_environment_fills_an_empty_block_and_does_nothing_without_one() -> None:
    environment = {"GENESYSCLOUD_GATEWAY_HOST": "h", "GENESYSCLOUD_GATEWAY_PROTOCOL": "http"}
    empty: dict[str, Any] = {"protocol": None, "host": None, "port": None, "path_params": []}
    assert upstream_of([empty], environment).api.host == "h"
    with pytest.raises(ValueError, match="gateway block"):
        upstream_of([], {**environment, "HOME": "/nowhere"})


def test_an_empty_protocol_fails_as_in_the_sdk() -> None:
    with pytest.raises(ValueError, match="URL is required"):
        upstream_of([{"host": "h"}], {})


def test_the_sdks_file_under_home_names_the_gateway_when_no_block_does(tmp_path: Path) -> None:
    folder = tmp_path / ".genesyscloudgo"
    folder.mkdir()
    params = [{"pathName": "api", "pathValue": "x"}]
    gateway = {"protocol": "http", "host": "127.0.0.1", "port": "8080", "pathParams": params}
    (folder / "config").write_text(json.dumps({"gateway": gateway}))
    upstream = upstream_of([], {"HOME": str(tmp_path)})
    assert (upstream.api.port, upstream.api.prefix, upstream.login.prefix) == (8080, "/x", "")


def test_configuring_mints_the_pool_and_asks_who_the_organisation_is(served: Served) -> None:
    environment = {"GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id, "GENESYSCLOUD_TOKEN_POOL_SIZE": "3"}
    block = {"protocol": "http", "host": served.host, "port": str(served.port)}
    assert configure(environment, {"gateway": [block], "oauthclient_secret": DEFAULT_CLIENT.secret}) == []
    assert served.simulation.login.granted == 4
    paths = [entry.path for entry in served.simulation.journal if entry.method == "GET"]
    assert paths == ["/api/v2/organizations/me", "/api/v2/authorization/products"]


def test_wrong_credentials_are_one_error_without_the_secret(served: Served) -> None:
    block = {"protocol": "http", "host": served.host, "port": str(served.port)}
    errors = configure({}, {"gateway": [block], "oauthclient_id": "x", "oauthclient_secret": "hunter2"})
    assert len(errors) == 1
    assert errors[0].startswith("Auth Error: 401")
    assert "hunter2" not in errors[0]


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("5m", 300), ("1h1m1s", 3661), ("1.5s", 1.5), ("20ms", 0.02)])
def test_durations_are_read_as_go_does(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "soon"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        duration_s(text)
