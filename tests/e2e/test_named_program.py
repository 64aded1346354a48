"""Advice names the program that a person works with: whoever has OpenTofu has no `terraform` to type."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

SOURCE = Path(__file__).parents[2] / "src" / "interlock"
HALF_S3 = 'terraform {\n  backend "s3" {}\n}\n'
PLAIN = 'resource "terraform_data" "one" {}\n'
CLOUD = """terraform {
  cloud {
    hostname     = "127.0.0.1"
    organization = "o"
    workspaces { name = "w" }
  }
}
"""
ENCRYPTED = 'terraform {\n  backend "gcs" {\n    bucket = "b"\n    encryption_key = "k"\n  }\n}\n'
ADVICE = {
    "fmt": (("fmt",), PLAIN, "{} fmt"),
    "test": (("test",), PLAIN, "{} test"),
    "metadata": (("metadata",), PLAIN, "{} metadata functions -json"),
    "taint": (("taint", "terraform_data.one"), PLAIN, "interlock exec -- {} taint terraform_data.one"),
    "state mv": (("state", "mv", "a", "b"), PLAIN, "interlock exec -- {} state mv a b"),
    "exec of a word": (("exec", "nowhere", "list"), PLAIN, "interlock exec -- {} state list"),
    "a plan that is none": (("deps", "--plan", "plan.json"), PLAIN, "{} show -json PLANFILE > plan.json"),
    "half a backend": (("plan",), HALF_S3, "{} init -backend-config="),
    "half a backend, looked at": (("doctor", "--json"), HALF_S3, "{} init -backend-config="),
    "no login": (("plan",), CLOUD, "{} login 127.0.0.1"),
    "a key of one's own": (("plan",), ENCRYPTED, "{} state pull"),
}


@pytest.fixture(params=["terraform", "tofu"])
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Person:
    """Somebody whose PATH has one program alone, or whose environment names it."""

    def __init__(self, folder: Path, program: str, *, named: bool) -> None:
        self.folder = folder / "root"
        self.folder.mkdir()
        tools = folder / "bin"
        tools.mkdir()
        for each in ("terraform", "tofu") if named else (program,):
            (tools / each).write_text('#!/bin/sh\necho \'{"terraform_version": "1.11.4"}\'\n')
            (tools / each).chmod(0o755)
        known = {name: value for name, value in os.environ.items() if not name.startswith(("INTERLOCK_", "TF_"))}
        home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "INTERLOCK_HOME": str(folder / "home")}
        self.environ = {**known, **home, "PATH": f"{tools}:/usr/bin:/bin"}
        if named:
            self.environ["INTERLOCK_TERRAFORM"] = program

    def types(self, *words: str) -> str:
        (self.folder / "plan.json").write_text("{}")
        done = subprocess.run(
            [sys.executable, "-m", "interlock", *words], cwd=self.folder, env=self.environ, capture_output=True,
            text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode, done.stdout
        return done.stdout + done.stderr


@pytest.mark.promise("P8")
@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
@pytest.mark.parametrize("case", ADVICE)
def test_a_next_line_names_the_program_that_is_there(case: str, program: str, named: bool, tmp_path: Path) -> None:
    words, text, advice = ADVICE[case]
    person = Person(tmp_path, program, named=named)
    (person.folder / "main.tf").write_text(text)
    told = person.types(*words)
    assert advice.format(program) in told, told
    assert "{terraform}" not in told
    other = {"terraform": "tofu", "tofu": "terraform"}[program]
    assert not re.search(rf"\b{other} (?:init|login|state|fmt|test|show|taint|metadata)\b", told), told


@pytest.mark.promise("P8")
def test_the_json_of_a_failure_names_it_too(program: str, tmp_path: Path) -> None:
    person = Person(tmp_path, program, named=True)
    (person.folder / "main.tf").write_text(HALF_S3)
    document = json.JSONDecoder().raw_decode(person.types("plan", "--json"))[0]
    assert document["error"]["next"].startswith(f"{program} init -backend-config=")


def test_what_the_settings_of_the_folder_say_counts(tmp_path: Path) -> None:
    person = Person(tmp_path, "terraform", named=True)
    del person.environ["INTERLOCK_TERRAFORM"]
    (person.folder / "interlock.yaml").write_text("terraform: tofu\n")
    (person.folder / "main.tf").write_text(HALF_S3)
    assert "tofu init -backend-config=" in person.types("plan")
    assert "terraform init -backend-config=" in person.types("plan", "--terraform", "terraform")


_TYPED = re.compile(
    r"\bterraform (?:init|plan|apply|state|import|providers|version|validate|login|logout|show|output|destroy|fmt|"
    r"workspace|console|refresh|test|get|graph|untaint|taint|-chdir)\b"
)
SPEAKS_OF_BOTH = {
    # A server sees neither program: both are named.
    "server/tfe/answers.py", "server/tfe/login.py", "compose/terraform_login.py",
    "server/tfe/logins.py",  # a label of a key, which nobody reads
    "cli/main.py", "cli/output.py", "cli/deps.py", "cli/execute.py",  # helps, which are the same for all
}  # fmt: skip
WITHOUT_ADVICE = ("lint/", "diagnosis/", "simulator/", "ci/")
"""Lint speaks of files, diagnosis rewrites what it says for the tool of the log, a pipeline names its own tool."""


def test_no_text_of_ours_has_a_command_of_terraform_where_the_person_may_have_tofu() -> None:
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        if place in SPEAKS_OF_BOTH or place.startswith(WITHOUT_ADVICE):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in notes:
                found |= {f"{place}:{node.lineno}: {node.value[:80]}"} if _TYPED.search(node.value) else set()
    assert found == set(), "name `interlock.errors.PROGRAM` instead"
