"""`interlock doctor` looks at the way to the API: the gateway, what passes it by, and the OAuth client."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import Desk

from interlock.simulator import DEFAULT_CLIENT, Simulation
from interlock.simulator.asgi import serve_in_thread

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[2] / "examples" / "contact-center"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serve_in_thread(Simulation()) as served:
        environ = {
            "GENESYSCLOUD_OAUTHCLIENT_ID": DEFAULT_CLIENT.id,
            "GENESYSCLOUD_OAUTHCLIENT_SECRET": DEFAULT_CLIENT.secret,
            "INTERLOCK_UPSTREAM_API": served.url,
            "INTERLOCK_UPSTREAM_LOGIN": served.url,
        }
        made = Desk(tmp_path, environ)
        shutil.copytree(EXAMPLE, tmp_path / "centre")
        yield made
        made.close()


def test_a_client_that_logs_in_and_may_read_is_fine(desk: Desk) -> None:
    answer = desk.run("doctor", desk.folder / "centre", "--json")
    checks = {check["name"]: check for check in answer.document["checks"]}
    assert answer.code == 0, answer.out
    assert checks["OAuth client"]["result"] == "ok"
    assert "genesyscloud_script" in checks["past the gateway"]["text"]


@pytest.mark.promise("P10")
def test_a_client_that_is_refused_is_a_problem_and_its_secret_is_not_shown(desk: Desk) -> None:
    answer = desk.run(
        "doctor", desk.folder / "centre", "--json", environ={"GENESYSCLOUD_OAUTHCLIENT_SECRET": "not-the-right-one"}
    )
    checks = {check["name"]: check for check in answer.document["checks"]}
    assert answer.code == 1
    assert checks["OAuth client"]["result"] == "problem"
    assert "not-the-right-one" not in answer.out + answer.err
