"""Whoever reads logs, journals, process lists or error texts learns no value that was given as a secret."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.desk import Desk

from interlock.errors import InterlockError, UsageError
from interlock.hcl import read_module
from interlock.hcl.given import secret_texts_given
from interlock.run.entries import DriftEntry, EndEntry, NoteEntry
from interlock.run.given_values import Handed, find_known_secrets, hand_over, remove_given
from interlock.run.order import Operation, Order
from interlock.run.stage import EventFile, hide_in_file
from interlock.run.summary import Summary, find_summary
from interlock.run.transcript import Journal, read
from interlock.secrecy import KnownSecrets, environment_secrets, know_secrets
from interlock.source.disk import DiskTree
from interlock.terraform.command import divide_flags
from interlock.testing.clock import FakeClock

pytestmark = pytest.mark.promise("P10")

WORD = "Zx9-Very-Secret-81"
SECRET = 'h"unter2 <&> Zoë\\x'
MODULE = """
variable "pw" {
  type      = string
  sensitive = true
  validation {
    condition     = !startswith(var.pw, "wrong")
    error_message = "bad value ${nonsensitive(var.pw)}"
  }
}
variable "settings" {
  type      = object({ key = string, more = list(string) })
  sensitive = true
}
variable "first" { default = "" }
output "digest" { value = nonsensitive(sha256("${var.pw}|${var.settings.key}|${var.settings.more[1]}|${var.first}")) }
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "main.tf").write_text(MODULE)
    return folder


def spy(folder: Path) -> Path:
    """Return a Terraform that writes its arguments down."""
    program = folder / "spying"
    real = shutil.which("terraform")
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {folder}/arguments\nexec {real} "$@"\n')
    program.chmod(0o755)
    return program


def kept(home: Path) -> str:
    """Return everything that stands in files of a home, not in what its links name."""
    return "".join(
        path.read_bytes().decode(errors="replace")
        for path in home.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


@pytest.mark.e2e
def test_values_of_variables_reach_terraform_and_nothing_else(desk: Desk, module: Path) -> None:
    program = spy(desk.folder)
    (module / "terraform.tfvars").write_text('settings = { key = "from-the-file", more = [] }\nfirst = "file-first"\n')
    settings = '{ key = "ob\\"ject-secret", more = [\n "a", "list-secret" ] }'
    environ = {"INTERLOCK_TERRAFORM": str(program), "TF_VAR_undeclared": "undeclared-secret"}
    flags = ("--", "-var", f"pw={SECRET}", f"-var=settings={settings}", "-var=first=flag-first")
    applied = desk.run("apply", module, "--state", "s", "--auto-approve", *flags, environ=environ)
    assert applied.code == 0, applied.err
    digest = hashlib.sha256(f'{SECRET}|ob"ject-secret|list-secret|flag-first'.encode()).hexdigest()
    shown = desk.run("state", "pull", "s")
    assert json.loads(shown.out)["outputs"]["digest"]["value"] == digest
    arguments = (desk.folder / "arguments").read_text()
    assert "apply" in arguments
    secrets = ("unter2", "ject-secret", "list-secret", "undeclared-secret", "from-the-file")
    assert not [secret for secret in secrets if secret in arguments]
    wrong = desk.run("plan", module, "--state", "s", *flags, "-var=pw=wrong-secret-1", environ=environ)
    assert wrong.code == 3, wrong.err
    assert "bad value (sensitive)" in wrong.err
    told = [desk.run("runs", *words, "latest") for words in (("logs",), ("show", "--json"))]
    said = "".join(answer.out + answer.err for answer in (applied, wrong, *told)) + kept(desk.home)
    assert not [secret for secret in (*secrets, "wrong-secret-1") if secret in said]


# -- what is hidden ---------------------------------------------------------------------------------------------------


def test_a_secret_is_found_in_every_spelling() -> None:
    known = know_secrets([SECRET])
    spelled = (
        SECRET,
        json.dumps(SECRET),
        json.dumps(json.dumps(SECRET)),
        json.dumps(SECRET, ensure_ascii=False),
        quote(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"client:{SECRET}".encode()).decode(),
    )
    for text in spelled:
        shown = known.hide(f"before {text} after")
        assert "(sensitive)" in shown, text
        assert "unter2" not in shown
    whole = "first line of a long secret\nsecond line of a long secret"
    assert "second" not in know_secrets([whole]).hide("it says: second line of a long secret!")


def test_a_secret_is_found_in_pages_addresses_and_dumps() -> None:
    secret = "a&b'c<d>/e\"f" * 8
    page = html.escape(secret)
    spelled = (
        *(page, page.replace("&#x27;", "&#39;"), page.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")),
        html.escape(secret, quote=False),
        json.dumps(secret).replace("/", "\\/"),
        re.sub("%..", lambda code: code[0].lower(), quote(secret, safe="")),
        *(secret.encode().hex(), secret.encode().hex().upper()),
        *base64.encodebytes(secret.encode()).decode().splitlines()[:-1],
    )
    for text in spelled:
        assert know_secrets([secret]).hide(f"before {text} after") in (
            "before (sensitive) after",
            'before "(sensitive)" after',
        )


def test_short_values_are_words_and_everyday_words_are_no_secrets() -> None:
    known = know_secrets(["abc", "4711", "Prod", "true", "ünïx5", ""])
    assert known.hide("abc 4711 prod true x4711 4711.") == "abc (sensitive) prod true x4711 (sensitive)."
    assert known.hide("ünïx5") == "(sensitive)"
    assert not know_secrets(["abc", "prod"])


@given(st.text(min_size=8, max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_no_copy_of_a_secret_is_left(secret: str, before: str, after: str) -> None:
    known = know_secrets([secret])
    if known and secret.strip() not in before + after:
        assert secret.strip() not in known.hide(f"{before}{secret}{after}").replace("(sensitive)", "\0")


def test_credentials_of_the_environment_are_known_by_their_names() -> None:
    environ = {
        "GENESYSCLOUD_OAUTHCLIENT_SECRET": "oauth-secret",
        "GENESYSCLOUD_ACCESS_TOKEN": "access-token",
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
        "AWS_SESSION_TOKEN": "aws-session",
        "TF_TOKEN_app_terraform_io": "host-token",
        "PGPASSWORD": "pg-secret",
        "GENESYSCLOUD_OAUTHCLIENT_ID": "an-id",
        "PATH": "/usr/bin",
    }
    assert set(environment_secrets(environ)) == {
        *("oauth-secret", "access-token", "aws-secret", "aws-session", "host-token", "pg-secret")
    }


def test_values_of_variables_are_secret_when_the_configuration_says_so_or_nobody_says(module: Path) -> None:
    (module / "more.tf").write_text(
        'variable "region" {}\nvariable "api_token" {}\nvariable "once" { ephemeral = true }\n'
        'variable "open" { sensitive = false }\n'
    )
    (module / "x.auto.tfvars").write_text('region = "eu"\nonce = "ephemeral-1"\n')
    (module / "given.tfvars").write_text('pw = "from-file"\nopen = "shown"\n')
    environ = {"TF_VAR_api_token": "token-1", "TF_VAR_stray": "stray-1", "TF_VAR_region": "us"}
    flags = ("-var-file=given.tfvars", "-var", 'settings={ key = "deep" }', "-var=open=o")
    found = set(secret_texts_given(read_module(DiskTree(), str(module)), DiskTree(), flags, environ))
    assert found == {"ephemeral-1", "from-file", "token-1", "stray-1", '{ key = "deep" }', "deep"}


def test_what_a_command_names_openly_and_our_own_words_are_no_secrets() -> None:
    values = ["orders", "apply", "latest", "var-secret"]
    known = know_secrets(["oauth-secret"], given=values, named=["eu/orders", "/srv/infra"])
    line = "interlock apply --state eu/orders"
    assert known.hide(f"{line} oauth-secret") == f"{line} (sensitive)"
    later = known.and_of(["orders", "infra", "planned-secret"])
    assert later.hide(f"{line} planned-secret oauth-secret") == f"{line} (sensitive) (sensitive)"
    assert known.hide("var-secret") == "(sensitive)"
    assert know_secrets(["orders"], named=["orders"]).hide("orders") == "(sensitive)"  # a credential is one anywhere
    assert know_secrets([], named=["orders"]).and_of(["orders"]).hide("orders") == "orders"


@pytest.mark.e2e
def test_a_next_line_can_be_typed_though_a_variable_has_the_name_of_the_state_or_of_a_command(desk: Desk) -> None:
    """A pipeline for all root modules gives each of them all variables; Terraform ignores what is not declared."""
    module = desk.module("orders-module", 'output "x" { value = 1 }\n')
    environ = {"TF_VAR_domain": "orders", "TF_VAR_kind": "apply", "TF_VAR_word": "module"}
    said = desk.run("apply", module, "--state", "orders", "--auto-approve", environ=environ).err
    assert "state orders" in said
    missing = desk.run("plan", f"{module}-not", "--state", "orders", environ=environ)
    assert "(sensitive)" not in missing.err
    assert "orders-module-not" in missing.err
    assert "(sensitive)" not in kept(desk.home)


# -- where it is hidden -----------------------------------------------------------------------------------------------


def journal(folder: Path, known: KnownSecrets) -> Journal:
    clock = FakeClock()
    summary = Summary(
        run="r", state="s", operation="plan", who="w", directory="d", phase="ended", started_at=clock.now()
    )
    return Journal(folder, summary, clock, lambda: None, known)


def test_a_journal_and_a_summary_hold_no_known_secret(tmp_path: Path) -> None:
    written = journal(tmp_path, know_secrets(["oauth-secret"]))
    counts = {"why": ["a", {"b": "oauth-secret", "n": 1}]}
    written.tell(EndEntry(exit=1, code="c", what="no oauth-secret"))
    written.tell(DriftEntry(counts=counts))
    written.change(message="it was oauth-secret", phase="ended")
    written.learn(["planned-secret"])
    written.tell(NoteEntry(text="oauth-secret and planned-secret"))
    written.close()
    assert "secret" not in (tmp_path / "journal.jsonl").read_text()
    assert [entry.facts for entry in read(tmp_path)] == [
        {"exit": 1, "code": "c", "what": "no (sensitive)"},
        {"why": ["a", {"b": "(sensitive)", "n": 1}]},
        {"text": "(sensitive) and (sensitive)"},
    ]
    summary = find_summary(tmp_path)
    assert summary is not None
    assert summary.message == "it was (sensitive)"


def test_what_terraform_said_is_kept_without_known_secrets_and_with_exact_objects(tmp_path: Path) -> None:
    known = know_secrets(["oauth-secret", "123456"])
    hook = {"resource": {"addr": "t.n", "resource_type": "t"}, "id_value": "123456", "elapsed_seconds": 123456}
    made = {"type": "apply_complete", "@message": "made", "hook": hook}
    said = {"severity": "error", "summary": "oauth-secret", "detail": "x" * 70_000 + 'sent "oauth-secret"'}
    diagnostic = {"type": "diagnostic", "@message": "Error: oauth-secret", "diagnostic": said}
    path = tmp_path / "apply.jsonl"
    path.write_text(f"{json.dumps(made)}\n{json.dumps(diagnostic)}\nplain oauth-secret\n")
    events = EventFile(path, known=known).new(at_end=True)
    assert "oauth-secret" not in repr(events)
    hide_in_file(path, known)
    assert "oauth-secret" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    again = EventFile(path).new(at_end=True)
    assert again[0] == events[0]  # recovery finds the object that was made
    before = path.read_bytes()
    hide_in_file(path, know_secrets(["something-else"]))
    assert path.read_bytes() == before


def test_a_failure_of_a_command_quotes_no_credential(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from interlock.cli import main

    def fail(*_: object) -> None:
        raise InterlockError(
            "sent oauth-secret", why="flag-secret env-secret", fix="x oauth-secret", body="oauth-secret"
        )

    monkeypatch.setenv("GENESYSCLOUD_OAUTHCLIENT_SECRET", "oauth-secret")
    monkeypatch.setenv("TF_VAR_x", "env-secret")
    monkeypatch.setattr(main, "_perform", fail)
    main._run(["runs", "ls", "--json", "--", "-var", "pw=flag-secret"])
    shown = capsys.readouterr()
    assert "(sensitive)" in shown.out
    assert "secret" not in shown.out + shown.err


def test_a_defect_of_ours_leaves_no_secret_in_the_runs_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from interlock.compose.supervising import _defect
    from interlock.run.order import Operation, Order

    order = Order(run="r", operation=Operation.PLAN, directory="d", state="s", who="w", home=str(tmp_path))
    written = journal(tmp_path, know_secrets(["oauth-secret"]))
    try:
        raise ValueError("it was oauth-secret")  # noqa: TRY301 - what a defect does
    except ValueError as error:
        end = written.hidden(_defect(error, order, written))
    written.close()
    assert "oauth-secret" not in capsys.readouterr().err + repr(end)


# -- how values reach Terraform ---------------------------------------------------------------------------------------


def handed(module: Path, folder: Path, *words: str) -> Handed:
    folder.mkdir(exist_ok=True)
    return hand_over(divide_flags(words), directory=module, folder=folder)


def test_a_value_goes_through_the_environment(module: Path, tmp_path: Path) -> None:
    found = handed(module, tmp_path / "run", "-var", "pw=a=b", "-target=x", "--var=first=1", "-var=first=2")
    assert found.environ == {"TF_VAR_pw": "a=b", "TF_VAR_first": "2"}
    assert found.flags.plan == ("-target=x",)
    assert found.flags.values == ()


def test_a_value_keeps_its_place_among_files_of_values(module: Path, tmp_path: Path) -> None:
    (module / "more.auto.tfvars").write_text('first = "auto"\n')
    found = handed(module, tmp_path / "run", "-var=first=a$" + '{b}"', "-var=pw=x")
    assert found.environ == {"TF_VAR_pw": "x"}
    ((flag, path),) = [word.split("=", 1) for word in found.flags.plan]
    assert flag == "-var-file"
    assert Path(path).read_text() == 'first = "a$${b}\\""\n'
    assert Path(path).stat().st_mode & 0o777 == 0o600
    found = handed(module, tmp_path / "other", "-var=pw=x", "-var-file=f.tfvars", "-var=settings={ key = 1 }")
    assert [word.split("=")[0] for word in found.flags.plan] == ["-var-file"] * 3
    assert found.flags.plan[1] == "-var-file=f.tfvars"
    assert Path(found.flags.plan[2].split("=", 1)[1]).read_text() == "settings = (\n{ key = 1 }\n)\n"
    remove_given(tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_a_value_for_an_undeclared_variable_is_refused_and_not_shown(module: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="variable nope") as refused:
        handed(module, tmp_path / "run", "-var=nope=very-secret")
    assert "very-secret" not in str(refused.value)


def test_a_backend_setting_goes_through_a_file(module: Path, tmp_path: Path) -> None:
    found = handed(module, tmp_path / "run", "-backend-config=password=db-secret", "-backend-config", "settings.hcl")
    assert found.flags.init[1:] == ("-backend-config", "settings.hcl")
    path = Path(found.flags.init[0].removeprefix("-backend-config="))
    assert path.read_text() == 'password = "db-secret"\n'


def test_hiding_is_linear() -> None:
    """Not a measure of time: how often the pattern is asked, on text that looks like a secret everywhere."""
    known = know_secrets([f"aaaaaaa{number}" for number in range(200)])
    asked = 0

    class Counting(dict[str, tuple[int, ...]]):
        def get(self, *words: object) -> object:  # type: ignore[override]
            nonlocal asked
            asked += 1
            return super().get(*words)  # type: ignore[call-overload]

    object.__setattr__(known.copies, "lengths", Counting(known.copies.lengths))
    text = "a" * 20_000
    assert known.hide(text) == text
    assert asked <= len(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PG_CONN_STR", f"postgres://u:{WORD}@h/x"),
        ("PG_CONN_STR", f"host=h user=u password={WORD} dbname=x"),
        ("HTTPS_PROXY", f"http://u:{WORD}@proxy:3128"),
        ("TF_ENCRYPTION", f'key_provider "pbkdf2" "k" {{\n  passphrase = "{WORD}"\n}}'),
        ("GOOGLE_BACKEND", json.dumps({"type": "service_account", "client_secret": WORD})),
        *((name, WORD) for name in ("SYSTEM_ACCESSTOKEN", "DB_PASS", "MYSQL_PWD", "AWS_SSE_CUSTOMER_KEY")),
        *((name, WORD) for name in ("SLACK_WEBHOOK_URL", "INTERLOCK_NOTIFY_URL", "INTERLOCK_SEAL_KEY")),
    ],
)
def test_a_credential_of_the_environment_is_hidden_wherever_it_stands_in_its_variable(name: str, value: str) -> None:
    known = know_secrets(environment_secrets({name: value, "EDITOR": "vim", "PS1": "token: no"}))
    assert WORD not in known.hide(f"the password is {WORD}.")
    assert known.hide("vim says no to postgres and service_account") == "vim says no to postgres and service_account"


@pytest.mark.promise("P10")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TF_CLI_ARGS", f"-var=pw={WORD}"),
        ("TF_CLI_ARGS_plan", f"-no-color -var 'pw={WORD}'"),
        ("TF_CLI_ARGS_init", f"-backend-config=secret_key={WORD}"),
        ("TF_CLI_ARGS_apply", f'"-var=pw={WORD}'),
    ],
)
def test_a_value_that_terraform_takes_from_its_own_variable_is_hidden(tmp_path: Path, name: str, value: str) -> None:
    (tmp_path / "main.tf").write_text('variable "pw" {\n  sensitive = true\n}\n')
    order = Order(run="r", operation=Operation.PLAN, directory=str(tmp_path), state="s", who="w", home=str(tmp_path))
    assert WORD not in find_known_secrets(order, {name: value}).hide(f"it says {WORD}")
