from __future__ import annotations

from interlock.ci.document import SourceText
from interlock.ci.scripts import Effects, Scripts
from interlock.source.tree import MemoryTree


def effects(text: str, files: dict[str, str], directory: str = "") -> Effects:
    return Scripts(MemoryTree(files), ".").effects(text, SourceText("ci.yml", text).span, directory=directory)


def places(found: Effects) -> list[tuple[str, str, int, int]]:
    return [(op.verb, op.span.path, op.span.line, op.span.column) for op in found.operations]


def test_a_called_script_is_read_with_places_in_its_own_file() -> None:
    found = effects("./x.sh", {"x.sh": "#!/usr/bin/env bash\n\nterraform apply\n"})
    assert places(found) == [("apply", "x.sh", 3, 1)]


def test_a_script_is_looked_for_in_the_steps_directory_first() -> None:
    files = {"infra/x.sh": "terraform plan\n", "x.sh": "terraform apply\n"}
    assert places(effects("./x.sh", files, "infra")) == [("plan", "infra/x.sh", 1, 1)]
    assert places(effects("./x.sh", {"x.sh": "terraform apply\n"}, "infra")) == [("apply", "x.sh", 1, 1)]


def test_scripts_that_call_each_other_end() -> None:
    files = {"a.sh": "./b.sh\nterraform plan\n", "b.sh": "./a.sh\n"}
    assert [verb for verb, *_ in places(effects("./a.sh", files))] == ["plan"]


def test_a_script_of_another_language_is_left_alone() -> None:
    assert effects("./x.py", {"x.py": "#!/usr/bin/python3\nterraform apply\n"}).operations == ()


def test_a_make_target_is_read_with_what_it_needs() -> None:
    makefile = (
        ".PHONY: deploy\ndeploy: init\n\t@terraform apply \\\n\t  -auto-approve\n"
        "init:\n\t-terraform init\nother:\n\techo\n"
    )
    found = effects("make -C infra deploy", {"infra/Makefile": makefile})
    assert places(found) == [("init", "infra/Makefile", 6, 3), ("apply", "infra/Makefile", 3, 3)]
    assert found.operations[1].approved
    assert found.operations[1].directory == "infra"


def test_make_without_a_target_takes_the_first() -> None:
    makefile = "A := 1\n.PHONY: a\na: b\n\tterraform apply\nb:\n\tterraform init\nc:\n\tterraform destroy\n"
    assert [verb for verb, *_ in places(effects("make", {"Makefile": makefile}))] == ["init", "apply"]


def test_targets_that_need_each_other_are_visited_once() -> None:
    makefile = "a: b c\n\tterraform apply\nb: a c\n\tterraform plan\nc: b\n\tterraform init\n"
    assert sorted(verb for verb, *_ in places(effects("make a", {"Makefile": makefile}))) == ["apply", "init", "plan"]
    chain = "".join(f"t{number}: t{number + 1}\n" for number in range(5000))
    assert effects("make t0", {"Makefile": chain}).operations == ()


def test_exec_reaches_into_a_script_only_if_the_script_passes_on() -> None:
    files = {"good.sh": "exec terraform apply\n", "bad.sh": "terraform apply\n"}
    assert effects("exec ./good.sh", files).operations[0].replaces_shell
    assert not effects("./good.sh", files).operations[0].replaces_shell
    assert not effects("exec ./bad.sh", files).operations[0].replaces_shell


def test_a_missing_script_adds_nothing() -> None:
    assert effects("./gone.sh; make nothing", {}).operations == ()
