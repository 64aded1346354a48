"""`interlock serve` as the host of a `cloud` block and of `backend "remote"`, with the real clients."""

from __future__ import annotations

import asyncio
import html
import http.client
import json
import os
import re
import shutil
import ssl
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.balancer import balancing
from tests.cloud_clients import COLOURS, STEP_S, TOKEN, CloudHost, CloudModule, end_all, until
from tests.identity_issuer import CLIENT, identity_issuer
from tests.program import unwrapped
from tests.proxy import certificate

from interlock.clock import SystemClock
from interlock.coordinator.local import LocalCoordinator
from interlock.existing import Found
from interlock.existing.tfe import open_tfe
from interlock.ids import RandomIds
from interlock.lock import Lock
from interlock.store.opening import open_store
from interlock.terraform.lockinfo import LockInfo
from interlock.testing.postgres import PostgresServer, why_not

pytestmark = pytest.mark.e2e

_NAMED = [path for path in os.environ.get("INTERLOCK_TEST_TERRAFORMS", "").split(os.pathsep) if path]
TOOLS = [tool for tool in ("terraform", *_NAMED, shutil.which("tofu")) if tool]
STATE = "acme/app"
WAITS = """
resource "terraform_data" "{name}" {{
  provisioner "local-exec" {{
    command = "touch {folder}/{name}.begun; while [ ! -e {folder}/{name}.go ]; do sleep 0.1; done"
  }}
}}
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[CloudHost]:
    (tmp_path / "home").mkdir(mode=0o700)
    made = CloudHost(tmp_path / "home")
    yield made
    made.end()


@pytest.fixture(autouse=True)
def processes() -> Iterator[None]:
    """Leave no Terraform behind, also when a test fails."""
    yield
    end_all()


def _until_parties(host: CloudHost, number: int) -> None:
    until(lambda: sum(map(len, host.queue(STATE))) == number)


def _life(module: CloudModule, host: CloudHost, *, migrates_out: bool) -> None:
    module.detach()
    module.run("init", "-input=false")
    module.run("apply", "-auto-approve")
    before = module.state()["resources"]
    module.attach()
    module.run("init", *([] if not migrates_out else ["-force-copy"]), answers="yes\n")
    assert module.state()["resources"] == before, "migration takes the state along"
    assert module.try_("plan", "-detailed-exitcode")[0] == 0
    module.run("state", "mv", "terraform_data.a", "terraform_data.b")
    text = (module.folder / "main.tf").read_text().replace('"a"', '"b"')
    (module.folder / "main.tf").write_text(f'{text}output "o" {{ value = terraform_data.b.output }}\n')
    assert module.try_("apply", "-auto-approve")[0] == 0
    assert json.loads(module.run("output", "-json"))["o"]["value"] == "x"
    (module.folder / "more.tf").write_text('resource "terraform_data" "i" { input = "i" }\n')
    module.run("import", "terraform_data.i", "some-id")
    module.run("apply", "-auto-approve")
    module.run("state", "rm", "terraform_data.i")
    assert module.run("state", "list").split() == ["terraform_data.b"]
    pulled = module.state()
    pushed = module.folder / "pushed.tfstate"
    pushed.write_text(json.dumps({**pulled, "serial": pulled["serial"] + 1}))
    module.run("state", "push", "pushed.tfstate")
    pushed.write_text(json.dumps({**pulled, "serial": 1, "lineage": "another"}))
    assert module.try_("state", "push", "pushed.tfstate")[0] == 1
    assert "already unlocked" in module.try_("force-unlock", "-force", STATE)[1]
    (module.folder / "more.tf").unlink()
    if migrates_out:
        module.detach()
        module.run("init", "-migrate-state", "-force-copy")
        assert module.run("state", "list").split() == ["terraform_data.b"]
        module.attach()
        module.run("init", "-reconfigure", answers="no\n")  # OpenTofu asks whether to copy
    module.run("apply", "-destroy", "-auto-approve")
    assert module.state()["resources"] == []
    history = json.loads(host.interlock("state", "history", STATE, "--json").stdout)
    assert len(json.dumps(history)) > 0
    assert host.queue(STATE) == ([], [])


@pytest.mark.slow
@pytest.mark.promise("P3", "P11")
@pytest.mark.parametrize("kind", ["cloud", "remote"])
@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: Path(path).name)
def test_a_real_client_lives_a_whole_life(host: CloudHost, tmp_path: Path, tool: str, kind: str) -> None:
    # Terraform itself migrates from a cloud block nowhere; from backend "remote" it does.
    _life(CloudModule(tmp_path / "m", host.port, tool=tool, kind=kind), host, migrates_out=kind == "remote")


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: Path(path).name)
def test_workspaces_with_tags_are_made_listed_selected_and_deleted(host: CloudHost, tmp_path: Path, tool: str) -> None:
    module = CloudModule(tmp_path / "m", host.port, tool=tool, workspaces='tags = ["team"]')
    module.run("init", answers="one\n")  # it asks for the name of the first one
    module.run("workspace", "new", "two")
    assert set(module.run("workspace", "list").replace("*", "").split()) == {"one", "two"}
    module.run("apply", "-auto-approve")
    status, said = module.try_("workspace", "delete", "two")
    assert status == 1
    module.run("workspace", "select", "one")
    status, said = module.try_("workspace", "delete", "two")
    assert status == 1, "it has a resource"
    status, said = module.try_("workspace", "delete", "-force", "two")
    assert (status, "its state has 1 object" in unwrapped(said)) == (1, True), said
    module.run("workspace", "select", "two")
    module.run("apply", "-destroy", "-auto-approve")
    module.run("workspace", "select", "one")
    module.run("workspace", "delete", "two")
    assert module.run("workspace", "list").replace("*", "").split() == ["one"]


@pytest.mark.slow
@pytest.mark.promise("P11")
@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: Path(path).name)
def test_a_state_moves_to_another_host_and_out_again_as_the_how_to_says(
    host: CloudHost, tmp_path: Path, tool: str
) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    other = CloudHost(tmp_path / "other")
    module = CloudModule(tmp_path / "m", host.port, tool=tool)
    module.run("init", "-input=false")
    module.run("apply", "-auto-approve")
    resources = module.state()["resources"]
    moved = module.folder / "moved.tfstate"
    moved.write_text(module.run("state", "pull"))
    there = CloudModule(tmp_path / "rc", other.port)
    rc = (there.folder / "terraform.rc").read_text().replace('"localhost"', '"other.example.com"')
    with (module.folder / "terraform.rc").open("a") as file:
        file.write(rc)
    module.block = module.block.replace('"localhost"', '"other.example.com"')
    module.attach()
    module.run("init", "-input=false")
    module.run("state", "push", "moved.tfstate")
    assert module.try_("plan", "-detailed-exitcode")[0] == 0
    assert module.state()["resources"] == resources
    assert other.interlock("state", "verify", STATE).returncode == 0
    moved.write_text(module.run("state", "pull"))
    module.detach()
    (module.folder / ".terraform" / "terraform.tfstate").unlink()
    module.run("init", "-input=false")
    module.run("state", "push", "moved.tfstate")
    assert module.try_("plan", "-detailed-exitcode")[0] == 0
    other.end()


def test_terraform_applies_and_reads_its_outputs(host: CloudHost, tmp_path: Path) -> None:
    outputs = 'output "o" { value = { a = [1, true] } }\noutput "s" {\n  value = "s3cret"\n  sensitive = true\n}\n'
    module = CloudModule(tmp_path / "m", host.port, token=host.token("runner", states="acme/*"), resources=outputs)
    module.run("init", "-input=false")
    assert "s3cret" not in module.run("apply", "-auto-approve")
    found = json.loads(module.run("output", "-json"))
    assert (found["o"]["value"], found["s"]["value"]) == ({"a": [1, True]}, "s3cret")
    foreign = CloudModule(tmp_path / "f", host.port, token=host.token("runner", states="other/*"))
    status, said = foreign.try_("init", "-input=false")
    assert status == 1
    assert "may not read-outputs acme/app" in unwrapped(said), said


@pytest.mark.slow
@pytest.mark.promise("P1", "P2")
def test_clients_that_contend_are_served_in_order_and_a_cancelled_one_reads_our_words(
    host: CloudHost, tmp_path: Path
) -> None:
    modules = [
        CloudModule(
            tmp_path / name,
            host.port,
            kind=kind,
            token=host.token("runner", note=name),
            resources=WAITS.format(name=name, folder=tmp_path),
        )
        for name, kind in (("first", "cloud"), ("second", "remote"), ("third", "cloud"))
    ]
    for module in modules:
        module.run("init", "-input=false")
    running = []
    for number, module in enumerate(modules):
        running.append(module.start("apply", "-auto-approve", "-refresh=false"))
        _until_parties(host, number + 1)
    holders, waiters = host.queue(STATE)
    assert [each.split()[0] for each in [*holders, *waiters]] == ["first", "second", "third"]
    (ticket,) = [
        one["ticket"]
        for one in json.loads(host.interlock("lock", "show", STATE, "--json").stdout)["waiters"]
        if one["who"].startswith("third")
    ]
    assert host.interlock("queue", "cancel", STATE, ticket).returncode == 0
    said = COLOURS.sub("", running[2].communicate(timeout=STEP_S)[0])
    assert running[2].returncode == 1
    assert "withdrawn" in unwrapped(said), said
    assert not (tmp_path / "second.begun").exists()
    for name in ("first", "second"):
        (tmp_path / f"{name}.go").touch()
    for process in running[:2]:
        assert process.communicate(timeout=STEP_S)[0]
        assert process.returncode == 0
    assert host.queue(STATE) == ([], [])


@pytest.mark.slow
@pytest.mark.promise("P4")
def test_a_fenced_apply_reads_why_its_bytes_are_kept_and_the_heir_is_not_disturbed(
    host: CloudHost, tmp_path: Path
) -> None:
    zombie = CloudModule(tmp_path / "z", host.port, resources=WAITS.format(name="z", folder=tmp_path))
    zombie.run("init", "-input=false")
    running = zombie.start("apply", "-auto-approve")
    until((tmp_path / "z.begun").exists)
    broken = host.interlock(
        "force-unlock", STATE, "--window", "1s", "--i-have-verified", "its runner was deleted", "--yes"
    )
    assert broken.returncode == 0, broken.stderr
    heir = CloudModule(tmp_path / "h", host.port, resources='resource "terraform_data" "h" {}\n')
    heir.run("init", "-input=false")
    heir.run("apply", "-auto-approve")
    (tmp_path / "z.go").touch()
    said = COLOURS.sub("", running.communicate(timeout=STEP_S)[0])
    assert running.returncode == 1
    assert "was broken at" in unwrapped(said), said
    assert (tmp_path / "z" / "errored.tfstate").exists()
    entries = json.loads(host.interlock("state", "quarantine", "ls", STATE, "--json").stdout)
    assert "terraform_data" in json.dumps(entries) or entries
    assert [row["name"] for row in heir.state()["resources"]] == ["h"]
    assert heir.try_("plan", "-detailed-exitcode")[0] == 0, "nobody holds it"


@pytest.mark.slow
@pytest.mark.promise("P1", "P2", "P3")
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_clients_of_several_replicas_do_not_notice_that_each_is_replaced(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url = f"{postgres.url}&schema=s{uuid.uuid4().hex[:12]}"

    def start(number: int) -> CloudHost:
        home = tmp_path / f"home{number}"
        home.mkdir(mode=0o700)
        return CloudHost(home, "--store", url)

    with balancing() as balancer:
        replicas = [start(0), start(1)]
        balancer.backends = [replica.port for replica in replicas]
        works, waits = (
            CloudModule(tmp_path / name, balancer.port, resources=WAITS.format(name=name, folder=tmp_path))
            for name in ("works", "waits")
        )
        for module in (works, waits):
            module.run("init", "-input=false")
        applying = works.start("apply", "-auto-approve")
        until((tmp_path / "works.begun").exists)
        waiting = waits.start("apply", "-auto-approve")
        until(lambda: len(_lock(url).waiters) == 1)
        for number in range(2):
            balancer.backends = [replicas[1 - number].port]
            replicas[number].end()
            until(lambda: any(each.attempts for each in _lock(url).waiters))  # who was sent away has come back
            replicas[number] = start(2 + number)
            balancer.backends = [replica.port for replica in replicas]
        assert not (tmp_path / "waits.begun").exists()
        for name in ("works", "waits"):
            (tmp_path / f"{name}.go").touch()
        for process in (applying, waiting):
            said, _ = process.communicate(timeout=STEP_S)
            assert process.returncode == 0, said
        assert _lock(url).holders == ()
        for replica in replicas:
            replica.end()


def _lock(url: str) -> Lock:
    """Read the lock, as another server does."""

    async def read() -> Lock:
        store = await open_store(url, clock=SystemClock())
        view = await LocalCoordinator(store.records, store.clock, RandomIds()).view(STATE)
        await store.close()
        return view.lock

    return asyncio.run(read())


@pytest.mark.slow
@pytest.mark.promise("P3")
@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: Path(path).name)
def test_a_terraform_that_is_killed_leaves_what_it_had_finished(host: CloudHost, tmp_path: Path, tool: str) -> None:
    chain = (
        'resource "terraform_data" "done" {}\n'
        'resource "terraform_data" "late" {\n  depends_on = [terraform_data.done]\n'
        '  provisioner "local-exec" {\n    command = "sleep 21"\n  }\n}\n'  # Terraform stores nothing before 20 s
        + WAITS.format(name="never", folder=tmp_path).replace(
            "{\n  prov", "{\n  depends_on = [terraform_data.late]\n  prov", 1
        )
    )
    module = CloudModule(tmp_path / "m", host.port, tool=tool, resources=chain)
    module.run("init", "-input=false")
    running = module.start("apply", "-auto-approve")
    until((tmp_path / "never.begun").exists)
    reader = CloudModule(tmp_path / "r", host.port, tool=tool)
    reader.run("init", "-input=false")
    until(lambda: reader.run("state", "pull").strip())
    running.kill()
    running.communicate(timeout=STEP_S)
    (tmp_path / "never.go").touch()
    names = {row["name"] for row in reader.state()["resources"]}
    assert {"done", "late"} <= names
    assert len(host.queue(STATE)[0]) == 1, "its lock stays until somebody proves that it is gone"
    status, said = reader.try_("force-unlock", "-force", STATE)
    assert status == 1
    assert "its holder is not provably gone" in unwrapped(said), said
    assert len(host.queue(STATE)[0]) == 1
    verified = ("--i-have-verified", "the test killed it", "--yes")
    assert host.interlock("force-unlock", STATE, "--window", "1s", *verified).returncode == 0
    reader.run("apply", "-destroy", "-auto-approve")
    assert reader.state()["resources"] == []


class LoggingIn:
    """A Terraform that logs in at a server with TLS, and has opened a browser.

    Args:
        tmp_path: Where all of it is.
        tool: Which Terraform.
    """

    def __init__(self, tmp_path: Path, tool: str) -> None:
        self.folder, self.file = tmp_path, certificate(tmp_path, "localhost")
        (tmp_path / "home").mkdir(mode=0o700)
        self.host = CloudHost(tmp_path / "home", "--tls-cert", str(self.file), "--tls-key", str(self.file))
        self.name = f"localhost:{self.host.port}"
        self.module = CloudModule(tmp_path / "m", self.host.port, tool=tool)
        self.module.block = self.module.block.replace('"localhost"', f'"{self.name}"')
        self.module.attach()
        self.module.environ = self._environ()
        self.context = ssl.create_default_context(cafile=str(self.file))

    def begin(self) -> str:
        """Begin; return the address that the browser is to open."""
        self.process = self.module.start("login", self.name)
        assert self.process.stdin is not None
        self.process.stdin.write("yes\n")
        self.process.stdin.flush()
        until((self.folder / "address").exists)
        address = (self.folder / "address").read_text()
        assert address.startswith(f"https://{self.name}/login/terraform?")
        return address

    def end(self) -> str:
        """Return the token that Terraform has kept, with which it works."""
        said = self.process.communicate(timeout=STEP_S)[0]
        assert self.process.returncode == 0, said
        stored = json.loads((self.folder / "user" / ".terraform.d" / "credentials.tfrc.json").read_text())
        self.module.run("init", "-input=false")
        self.module.run("apply", "-auto-approve")
        self.host.end()
        token: str = stored["credentials"][self.name]["token"]
        return token

    def _environ(self) -> dict[str, str]:
        browser = self.folder / "bin" / "xdg-open"  # what Terraform starts first of all browsers
        browser.parent.mkdir()
        part = f"{self.folder}/address.part"
        browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {part}; mv {part} {self.folder}/address\n')
        browser.chmod(0o755)
        (self.folder / "user" / ".terraform.d").mkdir(parents=True)
        environ = {
            **os.environ,
            "SSL_CERT_FILE": str(self.file),
            "HOME": str(self.folder / "user"),
            "CHECKPOINT_DISABLE": "1",
            "PATH": f"{browser.parent}{os.pathsep}{os.environ['PATH']}",
        }
        environ.pop("TF_CLI_CONFIG_FILE", None)
        return environ


@pytest.mark.promise("P10")
@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: Path(path).name)
def test_terraform_login_works_with_a_page_of_the_server(tmp_path: Path, tool: str) -> None:
    login = LoggingIn(tmp_path, tool)
    token = login.host.token("runner", states="acme/*")
    address = login.begin()
    with urllib.request.urlopen(address, timeout=STEP_S, context=login.context) as page:
        assert 'type="password"' in page.read().decode()
    form = urllib.parse.urlencode({"token": token}).encode()
    origin = {"Origin": f"https://{login.name}", "Sec-Fetch-Site": "same-origin"}
    # It follows to the port on which Terraform listens, which may leave with the code before it has answered.
    with (
        suppress(http.client.RemoteDisconnected),
        urllib.request.urlopen(
            urllib.request.Request(address, form, origin), timeout=STEP_S, context=login.context
        ) as done,
    ):
        assert done.status == 200
        assert urllib.parse.urlsplit(done.url).hostname == "localhost"
    assert login.end() == token


@pytest.mark.promise("P10")
@pytest.mark.parametrize("tool", TOOLS, ids=lambda path: Path(path).name)
def test_terraform_login_goes_by_the_provider_of_identities_and_back(tmp_path: Path, tool: str) -> None:
    login = LoggingIn(tmp_path, tool)
    with identity_issuer() as provider:
        rule = ("--platform", "person", "--issuer", provider.url, "--audience", CLIENT, "--claim", "groups=operators")
        login.host.interlock("trust", "add", "people", *rule, "--role", "runner", "--states", "acme/*")
        jar = urllib.request.HTTPCookieProcessor()
        browser = urllib.request.build_opener(jar, urllib.request.HTTPSHandler(context=login.context))
        with browser.open(login.begin(), timeout=STEP_S) as page:
            link = re.search(r'<a href="([^"]+)"', page.read().decode())
        assert link is not None
        followed = urllib.request.Request(f"https://{login.name}{html.unescape(link[1])}")
        followed.add_unredirected_header("Sec-Fetch-Site", "same-origin")
        with suppress(http.client.RemoteDisconnected):
            browser.open(followed, timeout=STEP_S).close()
        token = login.end()
        assert provider.people.wrong == []
    assert token.startswith("ilk_"), "one of our own"
    assert list(jar.cookiejar) == []


@pytest.mark.promise("P11")
async def test_our_own_client_of_this_api_and_our_server_understand_each_other(host: CloudHost, tmp_path: Path) -> None:
    module = CloudModule(tmp_path / "m", host.port)
    module.run("init", "-input=false")
    module.run("apply", "-auto-approve")
    found = Found(
        type="cloud",
        settings={"hostname": "localhost", "organization": "acme", "workspaces.name": "app", "token": TOKEN},
        origins=(),
        workspace="default",
    )
    backend = open_tfe(found, environ={}, home=tmp_path, base=f"http://127.0.0.1:{host.port}/api/v2")
    stored = await backend.read_state()
    assert stored is not None
    assert json.loads(stored.body) == module.state()
    info = LockInfo(id="x", operation="test", who="ann@host", info="for a test")
    held = await backend.take_lock(info)
    assert host.queue(STATE)[0] == ["token"]
    document = json.loads(stored.body)
    after = await backend.write_state(
        json.dumps({**document, "serial": document["serial"] + 1}).encode(), expected=stored
    )
    await backend.give_lock(held)
    assert host.queue(STATE) == ([], [])
    versions = await backend.history()
    assert [version.current for version in versions] == [True, False]
    assert await backend.read_version(versions[1].id) == stored.body
    assert module.state()["serial"] == json.loads(after.body)["serial"]
