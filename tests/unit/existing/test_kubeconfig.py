from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import UsageError
from interlock.existing.kubeconfig import Cluster, Pem, Plugin, Wanted, chosen

FIRST = {
    "current-context": "dev",
    "contexts": [{"name": "dev", "context": {"cluster": "one", "user": "ann"}}],
    "clusters": [{"name": "one", "cluster": {"server": "https://one", "certificate-authority": "ca.pem"}}],
    "users": [{"name": "ann", "user": {"token": "t1"}}],
}
SECOND = {
    "current-context": "prod",
    "contexts": [{"name": "prod", "context": {"cluster": "two", "user": "bob"}}],
    "clusters": [
        {"name": "one", "cluster": {"server": "https://shadowed"}},
        {"name": "two", "cluster": {"server": "https://two", "proxy-url": "http://proxy:3128"}},
    ],
    "users": [
        {
            "name": "bob",
            "user": {
                "client-certificate-data": base64.b64encode(b"CERT").decode(),
                "client-key": "keys/bob.pem",
                "exec": {"command": "./login", "args": ["a"], "env": [{"name": "N", "value": "v"}]},
            },
        }
    ],
}
FILES: list[tuple[Path, Any]] = [(Path("/home/a/config"), FIRST), (Path("/etc/k/config"), SECOND)]


def test_the_first_file_to_name_a_thing_wins_and_paths_are_relative_to_its_folder() -> None:
    assert chosen(FILES, Wanted()) == Cluster(server="https://one", authority=Pem(path="/home/a/ca.pem"), token="t1")


def test_a_context_of_a_later_file_is_found_with_its_cluster_and_user() -> None:
    found = chosen(FILES, Wanted(context="prod"))
    assert (found.server, found.proxy) == ("https://two", "http://proxy:3128")
    assert (found.certificate, found.key) == (Pem(text="CERT"), Pem(path="/etc/k/keys/bob.pem"))
    assert found.plugin == Plugin(command=("/etc/k/login", "a"), environ={"N": "v"})


def test_a_cluster_and_a_user_can_be_named_by_themselves() -> None:
    found = chosen(FILES, Wanted(cluster="two", user="ann"))
    assert (found.server, found.token) == ("https://two", "t1")


@pytest.mark.parametrize("wanted", [Wanted(context="no"), Wanted(cluster="no"), Wanted(user="no")])
def test_what_is_in_none_of_the_files_is_named(wanted: Wanted) -> None:
    with pytest.raises(UsageError, match='"no" in /home/a/config, /etc/k/config'):
        chosen(FILES, wanted)


def test_a_file_that_is_none_of_kubectls_is_named_without_its_content() -> None:
    with pytest.raises(UsageError, match=r"/x is not a configuration") as raised:
        chosen([(Path("/x"), "hush")], Wanted())
    assert "hush" not in str(raised.value)
    damaged = {"users": [{"name": "u", "user": {"client-key-data": "hush"}}]}
    with pytest.raises(UsageError, match="is not base64") as raised:
        chosen([(Path("/x"), damaged)], Wanted(user="u"))
    assert "hush" not in str(raised.value)
