"""States and plans that a real OpenTofu encrypts: in order, fenced, kept, restored and recovered like any other."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.desk import CUT, SLEEPER, STEP_S, Answer, Desk
from tests.e2e.test_runs_elsewhere import PLACES, Place, plain, root
from tests.e2e.test_serve_lock import AUTH, Served
from tests.program import no_tofu
from tests.s3_desk import KEY, S3Desk

from interlock.testing.aws import LocalAws

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tofu") is None, reason="OpenTofu (tofu) is not on PATH"),
]

PASSPHRASE = "correct-horse-battery-staple"
OTHER_PASSPHRASE = "another-horse-battery-staple"


def keys(*, state: str = "", plan: bool = False) -> dict[str, str]:
    """Return `TF_ENCRYPTION` with two keys and no encryption; `state` is the inside of that block."""
    lines = ['method "unencrypted" "none" {}']
    for name, passphrase in (("one", PASSPHRASE), ("two", OTHER_PASSPHRASE)):
        lines.append(f'key_provider "pbkdf2" "{name}" {{\n  passphrase = "{passphrase}"\n  iterations = 200000\n}}')
        lines.append(f'method "aes_gcm" "{name}" {{ keys = key_provider.pbkdf2.{name} }}')
    lines += [f"state {{\n{state}\n}}"] if state else []
    lines += ["plan { method = method.aes_gcm.one }"] if plan else []
    return {"TF_ENCRYPTION": "\n".join(lines)}


def by(method: str, fallback: str = "") -> str:
    """Return the inside of a `state` block."""
    also = f"\nfallback {{ method = method.{fallback} }}" if fallback else ""
    return f"method = method.{method}{also}"


ENCRYPTED = keys(state=by("aes_gcm.one"))
BOTH = keys(state=by("aes_gcm.one"), plan=True)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, {"INTERLOCK_TERRAFORM": "tofu"})
    yield made
    made.close()


@pytest.fixture
def s3(tmp_path: Path, aws: LocalAws) -> Iterator[S3Desk]:
    made = S3Desk(tmp_path, aws)
    made.environ["INTERLOCK_TERRAFORM"] = "tofu"
    yield made
    made.close()


def apply(desk: Desk, module: Path, environ: dict[str, str], round_: int = 1) -> Answer:
    return desk.run("apply", module, "--state", "s", "--auto-approve", "--", f"-var=round={round_}", environ=environ)


def is_secret_anywhere(folder: Path) -> list[str]:
    """Return the files under a folder that hold a passphrase."""
    words = (PASSPHRASE.encode(), OTHER_PASSPHRASE.encode())
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(word in path.read_bytes() for word in words)]


@pytest.mark.on("own")
@pytest.mark.promise("P3", "P6", "P10")
def test_an_encrypted_state_lives_in_our_own_backend(desk: Desk) -> None:
    module = desk.module()
    first = apply(desk, module, ENCRYPTED)
    assert first.code == 0, first.err
    assert "OpenTofu encrypts the state or the plan (TF_ENCRYPTION is set)" in first.err
    assert apply(desk, module, ENCRYPTED, 2).code == 0
    assert all(version.encrypted for version in desk.history())
    assert "encrypted_data" in json.loads(desk.run("state", "pull", "s").out)
    shown = desk.run("state", "show", "s")
    assert (shown.code, "OpenTofu encrypted it" in shown.err) == (3, True)
    verified = desk.run("state", "verify", "s", "--json")
    assert (verified.code, [each["code"] for each in verified.document["findings"]]) == (0, ["encrypted"])
    assert "encryption" in {
        row["name"] for row in desk.run("doctor", module, "--json", environ=BOTH).document["checks"]
    }
    assert not is_secret_anywhere(desk.home)


@pytest.mark.on("own")
@pytest.mark.promise("P3", "P8")
def test_encryption_begins_its_key_is_changed_and_it_ends_without_a_change_of_resources(desk: Desk) -> None:
    module = desk.module()
    assert apply(desk, module, {}).code == 0
    steps = (
        by("aes_gcm.one", "unencrypted.none"),
        by("aes_gcm.two", "aes_gcm.one"),
        by("unencrypted.none", "aes_gcm.two"),
    )
    for step in steps:
        done = apply(desk, module, keys(state=step))
        assert done.code == 0, done.err
    assert [(each.serial, each.encrypted) for each in reversed(desk.history())][-3:] == [
        (desk.history()[2].serial, True),
        (desk.history()[1].serial, True),
        (desk.history()[0].serial, False),
    ]
    assert desk.run("state", "verify", "s").code == 0


@pytest.mark.on("own")
@pytest.mark.promise("P3", "P8")
def test_who_has_no_key_or_another_is_told_so_and_nobody_is_told_to_restore(desk: Desk) -> None:
    module = desk.module()
    assert apply(desk, module, ENCRYPTED).code == 0
    before = desk.history()
    other = keys(state=by("aes_gcm.two"))
    for environ, code in (({}, 32), (other, 32), ({"INTERLOCK_TERRAFORM": no_tofu()}, 3)):
        refused = apply(desk, module, environ, 2)
        assert refused.code == code, refused.err
        assert "state restore" not in refused.err
    assert desk.history() == before
    assert apply(desk, module, ENCRYPTED, 2).code == 0


@pytest.mark.on("own")
@pytest.mark.promise("P3", "P11")
def test_an_encrypted_saved_plan_is_bound_to_state_files_and_values(desk: Desk) -> None:
    module = desk.module()
    plan = desk.folder / "one.tfplan"
    assert desk.run("plan", module, "--state", "s", "--out", plan, environ=BOTH).code == 0
    begun = desk.run("apply", module, "--state", "s", "--auto-approve", "--plan", plan, environ=BOTH)
    assert begun.code == 0, begun.err
    plan = desk.folder / "two.tfplan"
    made = desk.run("plan", module, "--state", "s", "--out", plan, "--", "-var=round=2", environ=BOTH)
    assert made.code == 0, made.err
    assert b"encrypted_data" in plan.read_bytes()

    def use(*words: object, environ: dict[str, str] = BOTH) -> Answer:
        return desk.run("apply", module, "--state", "s", "--auto-approve", "--plan", plan, *words, environ=environ)

    assert use("--", "-var=round=3").code == 21
    assert use(environ=keys(state=by("aes_gcm.one"))).code == 32, "without the key of the plan"
    text = (module / "main.tf").read_text()
    (module / "main.tf").write_text(text + "\n# other\n")
    assert use().code == 21
    (module / "main.tf").write_text(text)
    content = plan.read_bytes()
    plan.write_bytes(content.replace(b'"state":"s"', b'"state":"t"'))
    forged = use()
    assert (forged.code, "nobody answers for it" in forged.err) == (3, True)
    plan.write_bytes(content)
    done = use()
    assert done.code == 0, done.err
    assert use().code == 21, "the state was written since"


@pytest.mark.promise("P3")
def test_a_plan_that_plain_tofu_encrypted_is_refused_since_it_does_not_say_what_it_is_for(desk: Desk) -> None:
    from tests.opentofu_documents import PLAN

    module, plan = desk.module(), desk.folder / "plain.tfplan"
    plan.write_bytes(PLAN)
    refused = desk.run("apply", module, "--state", "s", "--auto-approve", "--plan", plan, environ=BOTH)
    assert (refused.code, "does not say what it was made for" in refused.err) == (3, True)


@pytest.mark.on("own")
@pytest.mark.promise("P3")
def test_a_version_is_restored_as_it_was_and_the_next_apply_goes_on_from_it(desk: Desk) -> None:
    module = desk.module()
    for round_ in (1, 2):
        assert apply(desk, module, ENCRYPTED, round_).code == 0
    first = next(each for each in desk.history() if each.run == desk.runs()[0].run)
    restored = desk.run("state", "restore", "s", "--version", str(first.number), "--yes")
    assert restored.code == 0, restored.err
    assert desk.history()[0].digest == first.digest
    done = apply(desk, module, ENCRYPTED, 3)
    assert done.code == 0, done.err
    pulled = desk.run("state", "pull", "s").out
    file = desk.folder / "pulled.tfstate"
    file.write_text(pulled)
    assert desk.run("state", "push", file, "--state", "s").code == 0, "the same again"


@pytest.mark.on("own")
@pytest.mark.promise("P3", "P5", "P9")
def test_a_killed_supervisor_of_an_encrypted_apply_costs_nothing(desk: Desk) -> None:
    module = desk.module()
    run = desk.start("apply", module, "--state", "s", "--auto-approve", "--", "-var=hold=20", environ=ENCRYPTED)
    summary = desk.until_working()
    os.kill(summary.processes["supervisor"].pid, signal.SIGKILL)
    ended = run.wait()
    assert ended.code == 143, ended.err
    assert desk.lock().holders == ()
    assert desk.history()[0].encrypted
    assert not list(desk.home.rglob("errored.tfstate"))
    assert not is_secret_anywhere(desk.home)
    again = apply(desk, module, ENCRYPTED)
    assert again.code == 0, again.err


@pytest.mark.on("s3")
@pytest.mark.promise("P3", "P6", "P8")
def test_an_encrypted_state_lives_on_s3(s3: S3Desk) -> None:
    module = s3.root()
    for round_ in (1, 2):
        applied = s3.applied_here(module, round_=round_, environ=ENCRYPTED)
        assert applied.code == 0, applied.err
    assert "encrypted_data" in s3.saved()
    assert s3.terraform_locks() == []
    verified = s3.run("state", "verify", module, "--json")
    assert (verified.code, [each["code"] for each in verified.document["findings"]]) == (0, ["encrypted"])
    recovered = s3.run("recover", module, "--yes", environ=ENCRYPTED).err
    assert "state: whole" in recovered, recovered
    refused = s3.applied_here(module, round_=3, environ=keys(state=by("aes_gcm.two")))
    assert refused.code == 32, refused.err
    listed = s3.run("state", "history", module, "--json").document["versions"]
    assert {each["encrypted"] for each in listed} == {True}

    whole = s3.objects()[KEY]
    s3.aws.s3.put_object(Bucket=s3.bucket, Key=KEY, Body=whole[:-200])
    assert s3.run("state", "verify", module).code == 20
    restored = s3.run("state", "restore", module, "--yes")
    assert restored.code == 0, restored.err
    assert s3.objects()[KEY] == whole
    assert s3.run("state", "verify", module).code == 0
    ended = s3.applied_here(module, round_=3, environ=ENCRYPTED)
    assert ended.code == 0, ended.err


ELSEWHERE = sorted(PLACES.keys() - {"cloud"})  # HCP Terraform takes no state that it cannot read


def begun(desk: Desk, place: Place) -> Path:
    """Return a root module on this place; where only tofu can begin its state, it has."""
    module = root(desk, place)
    if place.kind == "gcs":  # whose `init` stores the empty state of a new workspace
        refused = desk.run("apply", module, "--auto-approve", environ=ENCRYPTED)
        assert refused.code == 3, refused.err
        begin = shlex.split(refused.err.partition("next ")[2].splitlines()[0])
        subprocess.run(begin, env={**desk.environ, **ENCRYPTED}, check=True, capture_output=True, timeout=STEP_S)
    return module


@pytest.mark.promise("P1", "P3", "P6", "P8")
@pytest.mark.parametrize("where", ELSEWHERE)
def test_an_encrypted_state_lives_on_every_other_backend(desk: Desk, tmp_path: Path, where: str) -> None:
    with PLACES[where](tmp_path) as place:
        module = begun(desk, place)
        for round_ in (1, 2):
            done = desk.run("apply", module, "--auto-approve", "--", f"-var=round={round_}", environ=ENCRYPTED)
            assert done.code == 0, done.err
        assert "encrypted_data" in place.document
        assert not place.is_locked()
        verified = desk.run("state", "verify", module, "--json")
        assert (verified.code, [each["code"] for each in verified.document["findings"]]) == (0, ["encrypted"])
        before = place.stored()
        refused = desk.run("apply", module, "--auto-approve", environ=keys(state=by("aes_gcm.two")))
        assert refused.code == 32, refused.err
        assert "state restore" not in refused.err
        assert (place.stored(), place.is_locked()) == (before, False)
        same = desk.run("plan", module, "--detailed-exitcode", "--", "-var=round=2", environ=ENCRYPTED)
        assert same.code == 0, same.err
        for step, code in ((by("aes_gcm.two", "aes_gcm.one"), 0), (by("aes_gcm.one"), 32), (by("aes_gcm.two"), 0)):
            changed = desk.run("apply", module, "--auto-approve", "--", "-var=round=2", environ=keys(state=step))
            assert changed.code == code, changed.err
        assert ("encrypted_data" in place.document, place.is_locked()) == (True, False)


@pytest.mark.promise("P1", "P2", "P3", "P5", "P9")
@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_killed_run_on_an_encrypted_state_is_rescued_without_a_key_and_the_next_in_line_goes_on(
    desk: Desk, tmp_path: Path, where: str
) -> None:
    with PLACES[where](tmp_path) as place:
        module = begun(desk, place)
        dead = desk.start("apply", module, "--auto-approve", "--", f"-var=hold={CUT}", environ=ENCRYPTED)
        summary = desk.until_working()
        keyless = desk.start("apply", module, "--auto-approve", "--", "-var=round=2")
        desk.until_waiting()
        dead.process.kill()
        dead.wait()
        desk.stop_supervisor(summary)
        failed = keyless.wait()
        assert failed.code == 32, failed.err
        if place.kind not in {"gcs", "local"}:  # whose `init` reads the state, so that run ends before its turn
            assert "encrypted_data" in place.document
            assert not place.is_locked()
        after = desk.run("apply", module, "--auto-approve", "--", "-var=round=3", environ=ENCRYPTED)
        assert after.code == 0, after.err
        assert "terraform_data.kept" not in after.err, "the dead run had made it"
        assert ("encrypted_data" in place.document, place.is_locked()) == (True, False)


@pytest.mark.on("consul", "kubernetes")
@pytest.mark.promise("P4", "P8")
@pytest.mark.parametrize("where", ["consul", "consul-real", "kubernetes", "kubernetes-real"])
def test_a_run_that_was_broken_while_it_was_stopped_writes_nothing_over_an_encrypted_state(
    desk: Desk, tmp_path: Path, where: str
) -> None:
    with PLACES[where](tmp_path) as place:
        module = root(desk, place)
        assert desk.run("apply", module, "--auto-approve", environ=ENCRYPTED).code == 0
        gate = desk.gate()
        late = desk.start(
            "apply", module, "--auto-approve", "--", "-var=round=2", f"-var=gate={gate}", environ=ENCRYPTED
        )
        supervisor = desk.until_working().processes["supervisor"].pid
        os.kill(supervisor, signal.SIGSTOP)
        before = place.stored()
        elsewhere = {"INTERLOCK_HOME": str(desk.folder / "other")}  # where nobody can see that the supervisor still is
        words = ("--yes", "--window", "2s", "--i-have-verified", "that machine is off", "--operator", "Ann")
        broken = desk.run("force-unlock", module, *words, environ=elsewhere)
        assert broken.code == 0, broken.err
        os.kill(supervisor, signal.SIGCONT)
        gate.unlink()
        ended = late.wait()
        assert ended.code == 12, ended.err
        assert (place.stored(), place.is_locked()) == (before, False)


@pytest.mark.on("consul", "kubernetes")
@pytest.mark.promise("P3", "P11")
@pytest.mark.parametrize("where", ["consul", "consul-real", "kubernetes", "kubernetes-real"])
def test_an_encrypted_state_that_no_packing_makes_small_is_kept_and_a_run_says_what_cannot_read_it(
    desk: Desk, tmp_path: Path, where: str
) -> None:
    """OpenTofu puts the pieces of Consul together, and reads one Secret alone on Kubernetes."""
    noise = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(10_000))
    text = 'variable "round" {\n  default = "1"\n}\n'
    text += f'resource "terraform_data" "large" {{\n  input = "${{var.round}}{noise}"\n}}\n'
    with PLACES[where](tmp_path) as place:
        module = root(desk, place, text=text)
        told = place.kind == "kubernetes"
        first = desk.run("apply", module, "--auto-approve", environ=ENCRYPTED)
        assert (first.code, "plain OpenTofu 1." in first.err) == (0, told), first.err
        again = desk.run("apply", module, "--auto-approve", "--", "-var=round=2", environ=ENCRYPTED)
        assert (again.code, "plain OpenTofu 1." in again.err) == (0, told), again.err
        desk.environ |= ENCRYPTED
        if told:
            with pytest.raises(subprocess.CalledProcessError) as refused:
                plain(desk, module, "plan")
            assert b"unexpected EOF" in refused.value.stderr
            return
        by_hand = plain(desk, module, "plan", "-detailed-exitcode", "-input=false", "-var=round=2")
        assert by_hand.code == 0, by_hand.err


@pytest.mark.on("local")
@pytest.mark.promise("P3", "P8")
def test_the_key_of_a_local_state_is_changed_under_the_serial_that_it_has(desk: Desk) -> None:
    module = desk.module("local", 'terraform {\n  backend "local" { path = "x.tfstate" }\n}\n' + SLEEPER)
    for state in (by("aes_gcm.one"), by("aes_gcm.two", "aes_gcm.one"), by("aes_gcm.two")):
        done = desk.run("apply", module, "--auto-approve", environ=keys(state=state))
        assert done.code == 0, done.err
    assert "encrypted_data" in json.loads((module / "x.tfstate").read_text())
    assert desk.run("state", "verify", module).code == 0


@pytest.mark.on("own")
@pytest.mark.promise("P3", "P6")
def test_plain_tofu_that_encrypts_works_on_the_served_backend(tmp_path: Path) -> None:
    import base64
    import subprocess

    home, module = tmp_path / "home", tmp_path / "module"
    home.mkdir(mode=0o700)
    served = Served(home)
    try:
        module.mkdir()
        user, _, token = base64.b64decode(AUTH.removeprefix("Basic ")).decode().partition(":")
        address = f"http://127.0.0.1:{served.port}/state/prod/routing"
        settings = f'address = "{address}"\nlock_address = "{address}"\nunlock_address = "{address}"\n'
        settings += f'username = "{user}"\npassword = "{token}"\n'
        (module / "main.tf").write_text(f'terraform {{\n  backend "http" {{\n{settings}  }}\n}}\n' + SLEEPER)
        environ = {**os.environ, **ENCRYPTED, "TF_CLI_CONFIG_FILE": os.devnull}
        for words in (("init",), ("apply", "-auto-approve"), ("apply", "-auto-approve", "-var=round=2"), ("plan",)):
            said = subprocess.run(
                ["tofu", *words, "-no-color", "-input=false"],
                cwd=module,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            assert said.returncode == 0, said.stdout + said.stderr
    finally:
        served.process.kill()
        served.process.communicate()
    reader = Desk(tmp_path, {"INTERLOCK_HOME": str(home)})
    assert all(version.encrypted for version in reader.history("prod/routing"))
