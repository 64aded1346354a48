"""interlock.yaml, judged by lint as its reader judges it, and at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import UsageError
from interlock.lint.engine import Request, choose_rules, lint
from interlock.lint.finding import Finding
from interlock.settings.reading import load
from interlock.source.disk import DiskTree
from interlock.source.tree import MemoryTree

WRONG: dict[str, tuple[str | bytes, str, str]] = {
    "unknown key": ("version: 1\nstats: {}\n", "unknown key 'stats'", "stats"),
    "unknown key of a state": (
        "states:\n  prod:\n    directory: a\n    protectd: true\n",
        "unknown key 'states.prod.protectd'",
        "protectd",
    ),
    "wrong type": ("run:\n  max_deletes: many\n", "run.max_deletes: Input should be a valid integer", "many"),
    "wrong duration": ("run:\n  wait: tomorrow\n", "run.wait: 'tomorrow'", "tomorrow"),
    "wrong version": ("version: 2\n", "version: Input should be 1", "2"),
    "a list for a mapping": ("states:\n- prod\n", "states: Input should be a valid dictionary", "states"),
    "a policy without a name": ("policies:\n- approvals: 1\n", "policies.0.name: Field required", "approvals"),
    "an impossible policy": (
        "policies:\n- name: p\n  approvals: 99\n",
        "policies.0.approvals: Input should be less than or equal to 10",
        "99",
    ),
    "a freeze that ends first": (
        "policies:\n- name: p\n  freezes:\n  - {reason: r, from: 2026-12-02, to: 2026-12-01}\n",
        "policies.0.freezes.0: `to` must be after `from`",
        "{reason",
    ),
    "a window in no zone": (
        "policies:\n- name: p\n  windows:\n  - zone: Mars/Olympus\n",
        "policies.0.windows.0.zone: 'Mars/Olympus' is not a time zone",
        "Mars",
    ),
    "what an operator sets": ("server: https://elsewhere.example\n", "may not set `server`", "server"),
    "another program": ("terraform: ./evil\n", "may not set `terraform` to this", "terraform"),
    "a key of the store": ("encryption:\n  key_file: k\n", "may not set `encryption.key_file`", "key_file"),
    "too slow": ("run:\n  lease: 6s\n  heartbeat: 5s\n", "a heartbeat of 5s is too slow", "5s"),
    "too slow for the default": ("run:\n  lease: 1s\n", "too slow for a lease of 1s", "1s"),
    "no YAML": ("states:\n  prod: [\n", "is not valid YAML", ""),
    "a key twice": ("version: 1\nversion: 1\n", "is not valid YAML", "version: 1\n@"),
    "no mapping": ("- a\n", "must be a mapping", "- a"),
    "not text": (b"version: \xff\n", "cannot read", "version"),
    "too deep": ("states: " + "[" * 70 + "]" * 70 + "\n", "is not read", ""),
}
RIGHT = {
    "nothing": "",
    "a comment": "# states follow\n",
    "everything usual": (
        "version: 1\nterraform: tofu\nrun: {wait: 30m, lease: 10s, heartbeat: 2s}\nstates:\n  prod:\n    directory: a\n"
        "policies:\n- name: p\n  approvals: 1\n  windows:\n  - {days: [mon], from: '08:00', to: '18:00'}\n"
    ),
}


def _lint(text: str | bytes, *targets: str, path: str = "interlock.yaml") -> list[Finding]:
    request = Request(targets=targets or (".",), rules=choose_rules(select=["settings-invalid"]))
    return [item.finding for item in lint(MemoryTree({path: text}), request).findings]


@pytest.mark.parametrize("name", WRONG)
def test_what_the_reader_refuses_lint_finds_with_the_same_words_at_its_place(name: str, tmp_path: Path) -> None:
    text, said, at = WRONG[name]
    found = _lint(text)[0]
    assert said in found.message
    content = text if isinstance(text, bytes) else text.encode()
    before, _, after = at.partition("@")
    wanted = content.index(before.encode()) + (len(before) if _ else 0)
    if at:
        assert (found.span.start, found.span.line) == (wanted, content[:wanted].count(b"\n") + 1), after
    file = tmp_path / "interlock.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        load(tmp_path, {"HOME": str(tmp_path)})
    assert found.message.startswith(refused.value.what.removeprefix(f"{file}: ").replace(str(file), "interlock.yaml"))
    assert refused.value.why in found.message
    assert found.fix


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_reader_takes_lint_leaves_alone(name: str, tmp_path: Path) -> None:
    assert _lint(RIGHT[name]) == []
    (tmp_path / "interlock.yaml").write_text(RIGHT[name])
    load(tmp_path, {"HOME": str(tmp_path)})


def test_each_thing_that_is_wrong_is_told_the_misspelled_keys_too() -> None:
    found = _lint("stats: {}\nrun:\n  wait: soon\n  waits: 1m\n")
    assert [(each.span.line, each.message.partition(":")[0].split()[0]) for each in found] == [
        (1, "unknown"),
        (3, "run.wait"),
        (4, "unknown"),
    ]


def test_the_file_that_holds_for_a_folder_below_is_found_and_one_beyond_it_is_not(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    deep = tmp_path / "infra" / "prod"
    deep.mkdir(parents=True)
    (tmp_path / "interlock.yaml").write_text("stats: {}\n")
    (deep / "main.tf").write_text("")
    request = Request(targets=(str(deep),), rules=choose_rules(select=["settings-invalid"]))
    paths = [item.finding.span.path for item in lint(DiskTree(), request).findings]
    assert paths == [str(tmp_path / "interlock.yaml")]
    (tmp_path / "infra" / "interlock.yaml").write_text("version: 1\n")
    assert lint(DiskTree(), request).findings == (), "a nearer one holds there"


def test_a_file_that_is_named_alone_is_judged() -> None:
    assert len(_lint("stats: {}\n", "interlock.yaml")) == 1
    assert len(_lint("stats: {}\n", path="a/b/interlock.yaml")) == 1
    assert _lint("stats: {}\n", path="a/.hidden/interlock.yaml") == []
    assert _lint("stats: {}\n", path="not-interlock.yaml") == []


def test_a_comment_accepts_one_place_as_in_other_files() -> None:
    assert _lint("# interlock:ignore settings-invalid: the next release has it\nstats: {}\n") == []
