from __future__ import annotations

from collections.abc import Mapping

import pytest

from interlock.drift.decisions import Choice
from interlock.drift.finding import Attribute, Finding, Kind
from interlock.drift.remedy import find_remedy, imports_of, removed_block
from interlock.hcl import Module, read_module

TYPE = "genesyscloud_routing_queue"


class Files:
    """A tree in memory."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def files(self, folder: str) -> tuple[str, ...]:
        return tuple(name for name in self._files if folder in ("", ".", "root"))

    def within(self, folder: str) -> str | None:
        return folder

    def folders(self, folder: str) -> tuple[str, ...]:  # noqa: ARG002 - a tree without folders
        return ()

    def read(self, path: str) -> bytes | None:
        text = self._files.get(path.rpartition("/")[2])
        return None if text is None else text.encode()


@pytest.fixture
def module() -> Module:
    text = (
        f'resource "{TYPE}" "q" {{\n  name = "Q"\n}}\n\n'
        f'resource "{TYPE}" "many" {{\n  for_each = toset(["a"])\n  name = each.key\n}}\n'
    )
    return read_module(Files({"main.tf": text}), "root")


def finding(kind: Kind = Kind.CHANGED, address: str = f"{TYPE}.q", **more: object) -> Finding:
    attribute = Attribute(path="description", before="old", after="new", suggestion='description = "new"')
    values = {"type": TYPE, "object": "1", "attributes": (attribute,), **more}
    return Finding(kind=kind, address=address, **values)  # type: ignore[arg-type]


def test_accepting_a_change_names_the_line_to_write_and_where(module: Module) -> None:
    remedy = find_remedy(finding(), Choice.ACCEPT, frozenset(), module)
    assert remedy.place == "root/main.tf:1"
    assert remedy.change == 'description = "new"\n'


def test_a_block_that_makes_several_objects_is_pointed_out(module: Module) -> None:
    remedy = find_remedy(finding(address=f'{TYPE}.many["a"]'), Choice.ACCEPT, frozenset(), module)
    assert "several objects" in remedy.advice
    assert remedy.place == "root/main.tf:5"


def test_a_secret_is_never_written(module: Module) -> None:
    secret = Attribute(path="password", before="(sensitive value)", after="(sensitive value)", sensitive=True)
    remedy = find_remedy(finding(attributes=(secret,)), Choice.ACCEPT, frozenset(), module)
    assert remedy.change == "# password: sensitive; take the new value from the organisation\n"


def test_what_is_gone_is_removed_from_the_configuration(module: Module) -> None:
    whole = find_remedy(finding(Kind.GONE), Choice.ACCEPT, frozenset(), module)
    assert whole.change == removed_block(f"{TYPE}.q")
    assert "destroy = false" in whole.change
    keyed = find_remedy(finding(Kind.GONE, f'{TYPE}.many["a"]'), Choice.ACCEPT, frozenset(), module)
    assert (keyed.change, "for_each" in keyed.advice) == ("", True)


@pytest.mark.parametrize("kind", [Kind.CHANGED, Kind.GONE, Kind.CONTENT])
def test_reverting_says_what_the_next_apply_does(kind: Kind, module: Module) -> None:
    remedy = find_remedy(finding(kind), Choice.REVERT, frozenset(), module)
    assert "appl" in remedy.advice
    assert remedy.change == ""


def test_unmanaged_objects_are_imported_or_left() -> None:
    found = finding(Kind.UNMANAGED, generated=f'resource "{TYPE}" "q" {{\n}}\n')
    taken = find_remedy(found, Choice.IMPORT, frozenset(), None)
    assert taken.change == imports_of([found])
    assert taken.change.startswith(f'import {{\n  to = {TYPE}.q\n  id = "1"\n}}\n')
    assert find_remedy(found, Choice.ACCEPT, frozenset(), None).change == ""


def test_without_a_configuration_the_advice_remains() -> None:
    assert find_remedy(finding(), Choice.ACCEPT, frozenset(), None).place == ""
