import json
import signal
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from interlock.simulator.__main__ import main

COMMAND = [sys.executable, "-m", "interlock.simulator"]


def test_a_process_of_its_own_says_where_it_is_and_ends_when_told() -> None:
    faults = '[{"kind": "server-error", "status": 502, "path": "/users"}]'
    command = [*COMMAND, "--limits", "[]", "--faults", faults]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            with urllib.request.urlopen(ready["url"] + "/_control/counts", timeout=60) as answer:
                assert json.load(answer)["faults"] == {"server-error": 0}
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


@pytest.mark.parametrize("arguments", [["--limits", "{"], ["--faults", '[{"kind": "flood"}]'], ["--port", "x"]])
def test_wrong_options_are_said_so_without_a_traceback(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def started(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE)


def ready_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    ready: dict[str, Any] = json.loads(process.stdout.readline())
    return ready


def posted(url: str, token: str, body: object, context: ssl.SSLContext | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return json.load(answer)


def logged_in(ready: dict[str, Any], context: ssl.SSLContext | None = None) -> str:
    form = urllib.parse.urlencode({"grant_type": "client_credentials", **login_of(ready)}).encode()
    with urllib.request.urlopen(ready["url"] + "/oauth/token", form, timeout=60, context=context) as answer:
        return str(json.load(answer)["access_token"])


def login_of(ready: dict[str, Any]) -> dict[str, str]:
    return {"client_id": ready["client_id"], "client_secret": ready["client_secret"]}


def test_it_serves_tls_with_a_certificate_made_for_this_start_and_forgets_the_key() -> None:
    with started("--tls", "--organisations", "2") as process:
        try:
            ready = ready_of(process)
            context = ssl.create_default_context(cafile=ready["certificate"])
            assert ready["url"].startswith("https://")
            tokens = [logged_in({**ready, **each}, context) for each in ready["organisations"]]
            made = [posted(ready["url"] + "/api/v2/routing/skills", token, {"name": "S"}, context) for token in tokens]
            assert len(made) == 2
            job = posted(ready["url"] + "/api/v2/flows/jobs", tokens[1], {}, context)
            assert job["presignedUrl"].startswith("https://")
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert not Path(ready["certificate"]).parent.exists()


@pytest.mark.promise("P10")
def test_traffic_is_recorded_without_secrets_and_answered_again(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    with started("--limits", "[]") as real:
        ready = ready_of(real)
        with started("--record", str(file), "--api-url", ready["url"], "--login-url", ready["url"]) as recorder:
            through = {**ready, **ready_of(recorder)}
            token = logged_in(through)
            skill = posted(through["url"] + "/api/v2/routing/skills", token, {"name": "Billing"})
            recorder.send_signal(signal.SIGTERM)
        real.send_signal(signal.SIGTERM)
    assert token not in file.read_text()
    assert ready["client_secret"] not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    with started("--replay", str(file)) as replay:
        again = ready_of(replay)
        assert posted(again["url"] + "/api/v2/routing/skills", logged_in(again), {"name": "Billing"}) == skill
        replay.send_signal(signal.SIGTERM)
    assert (real.returncode, recorder.returncode, replay.returncode) == (0, 0, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--certificate", "x.pem"],
        ["--record", "x", "--replay", "y"],
        ["--record", "x"],
        ["--organisations", "0"],
        ["--replay", "/nowhere/at/all"],
    ],
)
def test_options_that_contradict_each_other_are_said_so(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert isinstance(refused.value.code, str)
