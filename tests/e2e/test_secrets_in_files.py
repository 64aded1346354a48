"""Secrets that a command gives a person: what is printed as advice is typed as printed, in a shell, and does it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

STATE = '{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"l","outputs":{},"resources":[]}'
SECRETS = {
    "encryption new-key": re.compile(r"ilmaster_[A-Za-z0-9_-]{43}\n\Z"),
    "token create --role operator --person anna": re.compile(r"ilk_[0-9a-z]{12}_[A-Za-z0-9_-]{43}\n\Z"),
    "state pull prod": re.compile(r".*\"lineage\":\s*\"l\"", re.DOTALL),
}
"""Commands whose output is a secret, with what they give."""


class Shell:
    """A person's shell, with the usual umask."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "INTERLOCK_HOME": str(folder / "home")}
        known = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
        self.environ = {**known, **home}

    def types(self, line: str) -> subprocess.CompletedProcess[str]:
        interlock = f'interlock() {{ {shlex.quote(sys.executable)} -m interlock "$@"; }}\numask 022\n'
        words = ["sh", "-c", interlock + line]
        return subprocess.run(words, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False)

    def mode(self, name: str) -> str:
        return f"{(self.folder / name).stat().st_mode & 0o777:04o}"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    (tmp_path / "pushed.tfstate").write_text(STATE)
    assert shell.types("interlock state push pushed.tfstate --state prod").returncode == 0
    return shell


@pytest.mark.promise("P10")
@pytest.mark.parametrize("command", SECRETS)
def test_a_secret_is_written_into_a_new_file_of_its_owner_alone_and_replaces_none(shell: Shell, command: str) -> None:
    done = shell.types(f"interlock {command} --out secret")
    assert done.returncode == 0, done.stderr
    secret = (shell.folder / "secret").read_text()
    assert SECRETS[command].match(secret)
    assert (shell.mode("secret"), secret.strip() in done.stdout + done.stderr) == ("0600", False)
    again = shell.types(f"interlock {command} --out secret")
    assert (again.returncode, "none is replaced" in again.stderr) == (3, True), again.stderr
    assert (shell.folder / "secret").read_text() == secret
    (shell.folder / "link").symlink_to("elsewhere")
    assert shell.types(f"interlock {command} --out link").returncode == 3
    assert not (shell.folder / "elsewhere").exists()


@pytest.mark.promise("P10")
@pytest.mark.parametrize("command", SECRETS)
def test_whoever_redirects_a_secret_into_a_file_that_others_can_read_is_told_what_to_type(
    shell: Shell, command: str
) -> None:
    done = shell.types(f"interlock {command} > 'a secret'")
    assert (done.returncode, shell.mode("a secret")) == (0, "0644"), done.stderr
    told = next(line for line in done.stderr.splitlines() if "others can read" in line)
    advice = told.partition(": ")[2].partition(";")[0]
    assert shell.types(advice).returncode == 0
    assert shell.mode("a secret") == "0600"
    assert "others can read" not in shell.types(f"(umask 077; interlock {command} > other)").stderr


def test_what_is_refused_says_nothing_of_who_can_read_it(shell: Shell) -> None:
    done = shell.types("interlock token create --role operator --person 'a b' > refused")
    assert done.returncode == 3
    assert "others can read" not in done.stderr


@pytest.mark.promise("P8")
def test_a_token_that_cannot_be_written_is_not_made(shell: Shell) -> None:
    (shell.folder / "taken").write_text("mine")
    assert shell.types("interlock token create --role reader --out taken").returncode == 3
    assert json.loads(shell.types("interlock token ls --json").stdout)["tokens"] == []
    assert (shell.folder / "taken").read_text() == "mine"


@pytest.mark.promise("P10")
def test_the_json_of_a_secret_in_a_file_names_the_file_and_not_the_secret(shell: Shell) -> None:
    made = json.loads(shell.types("interlock token create --role reader --out t --json").stdout)
    assert (made["path"], "token" in made, made["role"]) == ("t", False, "reader")
    assert set(json.loads(shell.types("interlock encryption new-key --out k --json").stdout)) == {"path"}


@pytest.mark.promise("P8")
def test_what_is_said_of_a_missing_key_and_of_an_open_one_works_as_it_is_printed(shell: Shell) -> None:
    shell.environ["INTERLOCK_ENCRYPTION_KEY"] = "password"
    refused = shell.types("interlock encryption status")
    assert refused.returncode == 3
    del shell.environ["INTERLOCK_ENCRYPTION_KEY"]
    made, _, named = re.findall(r"^  next   (.*)$", refused.stderr, re.MULTILINE)[0].partition("    then ")
    used = shell.types(f"{made} && {named} && interlock encryption rotate --json && interlock encryption status --json")
    assert used.returncode == 0, used.stderr
    assert shell.mode("master.key") == "0600"
    shell.types("chmod 644 master.key")
    shell.environ["INTERLOCK_ENCRYPTION_KEY_FILE"] = str(shell.folder / "master.key")
    opened = shell.types("interlock encryption status")
    assert (opened.returncode, "open to others" in opened.stderr) == (3, True), opened.stderr
    advice = re.findall(r"^  next   (.*)$", opened.stderr, re.MULTILINE)[0]
    assert shell.types(f"{advice} && interlock encryption status").returncode == 0


@pytest.mark.promise("P8")
def test_what_is_said_of_a_weak_audit_key_works_as_it_is_printed(shell: Shell) -> None:
    shell.environ["INTERLOCK_AUDIT_KEY"] = "short"
    refused = shell.types("interlock audit ls")
    assert refused.returncode == 3
    del shell.environ["INTERLOCK_AUDIT_KEY"]
    advice = re.findall(r"^  next   (.*)    makes one$", refused.stderr, re.MULTILINE)[0]
    assert shell.types(advice).returncode == 0
    shell.environ["INTERLOCK_AUDIT_KEY_FILE"] = "audit.key"
    assert shell.types("interlock audit ls").returncode == 0
    assert shell.mode("audit.key") == "0600"


@pytest.mark.promise("P10")
def test_whoever_redirects_the_first_token_of_a_server_is_told_too(shell: Shell, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "interlock", "serve", "--listen", "127.0.0.1:0", "--json"]
    environ = {**shell.environ, "INTERLOCK_HOME": str(tmp_path / "fresh")}
    ready = tmp_path / "ready.json"
    ready.touch()
    ready.chmod(0o644)
    with (
        ready.open("w") as out,
        subprocess.Popen(words, env=environ, stdout=out, stderr=subprocess.PIPE, text=True) as server,
    ):
        assert server.stderr is not None
        told = server.stderr.readline()
        server.terminate()
    assert "others can read" in told, told
    assert str(ready) in told
