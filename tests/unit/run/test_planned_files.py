"""A plan and a checkout are the same, or the first difference is named."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import PlanStale, PolicyGate
from interlock.hcl import Known
from interlock.run.planned_files import (
    Difference,
    HeldFiles,
    HeldModule,
    check_digest,
    check_same,
    digest_of,
    find_difference,
    find_variable_difference,
    is_digest,
    short_digest,
)

pytestmark = pytest.mark.promise("P11")
LOCK = b'provider "r/a/b" {\n  version = "1.0.0"\n  hashes = ["h1:one", "zh:two"]\n}\n'


def held(lock: bytes | None = None, version: str = "1.0.0", source: str = "registry/x", **files: bytes) -> HeldFiles:
    root = HeldModule(files={"main.tf": b"a\n", **{f"{name}.tf": text for name, text in files.items()}})
    remote = HeldModule(source=source, version=version, folder="/data/modules/m", files={"m.tf": b"m"})
    return HeldFiles(modules={"": root, "m": remote}, lock=lock)


def subject(difference: Difference | None) -> str:
    return "" if difference is None else difference.subject


def test_the_same_files_are_the_same() -> None:
    assert find_difference(held(LOCK), held(LOCK)) is None


def test_the_first_other_file_module_or_provider_is_named() -> None:
    assert subject(find_difference(held(more=b"x"), held())) == "more.tf"
    assert subject(find_difference(held(), held(more=b"x"))) == "more.tf"
    assert subject(find_difference(held(more=b"x"), held(more=b"y"))) == "more.tf"
    assert subject(find_difference(held(version="1.0.1"), held())) == "module m"
    assert subject(find_difference(held(source="registry/evil"), held())) == "module m"
    assert subject(find_difference(held(), HeldFiles(modules={"": held().modules[""]}))) == "module m"
    assert subject(find_difference(held(LOCK.replace(b"one", b"evil")), held(LOCK))) == ".terraform.lock.hcl"


def test_a_lock_file_that_terraform_spelled_anew_is_the_same() -> None:
    spelled = (
        b'# comment\nprovider "r/a/b" {\n  version     = "1.0.0"\n  hashes = [\n    "zh:two",\n    "h1:one",\n  ]\n}\n'
    )
    assert find_difference(held(LOCK), held(spelled)) is None
    assert subject(find_difference(held(b"provider {"), held(LOCK))) == ".terraform.lock.hcl"


def test_line_ends_are_told_from_other_content() -> None:
    found = find_difference(held(more=b"a\r\nb\r\n"), held(more=b"a\nb\n"))
    assert found is not None
    assert "line ends" in found.why
    with pytest.raises(PlanStale, match=r"more\.tf"):
        check_same(found)


def variables(
    planned: dict[str, object], given_: dict[str, object], *, vouched: bool = False, kind: str = "string"
) -> str:
    known = {name: None if value is ... else Known(value=value) for name, value in given_.items()}  # type: ignore[arg-type]
    return subject(find_variable_difference(planned, known, declared={"a": kind, "b": ""}, vouched=vouched))


@pytest.mark.parametrize(
    ("planned", "given_"),
    [
        ("5", 5),
        ("0.1", 0.1),
        ("NaN", "NaN"),
        ("sNaN", "sNaN"),
        ("1e3", "1e3"),
        ("100000000000000000000000", 1e23),
        ("0.00001", 1e-5),
        (123456789012345678901234567890, "123456789012345678901234567890"),
        ("true", True),
        (None, None),
        ({"x": [1, "2", True, None]}, {"x": [1, "2", True, None]}),
    ],
)
def test_values_that_terraform_takes_for_the_same_are_the_same(planned: object, given_: object) -> None:
    assert variables({"a": planned}, {"a": given_}) == ""


@pytest.mark.parametrize(
    ("kind", "planned", "given_"),
    [("number", "1e3", 1000), ("number", "7.0", "7"), ("number", 7, "7.0"), ("bool", "1", True), ("bool", False, "0")],
)
def test_a_type_says_which_spellings_are_the_same(kind: str, planned: object, given_: object) -> None:
    assert variables({"a": planned}, {"a": given_}, kind=kind) == ""
    assert variables({"a": planned}, {"a": given_}) == "variable a"


@pytest.mark.promise("P11")
@pytest.mark.parametrize(
    ("planned", "given_"),
    [
        ("1.10", "1.1"),
        ("+4930123", "4930123"),
        ("0049", "49"),
        ("1_0", "10"),
        ("1e3", "1000"),
        ("1.10", 1.1),
        (["007"], ["7"]),
        ({"v": "1.10"}, {"v": 1.1}),
    ],
)
def test_a_plan_with_another_text_that_is_the_same_number_is_refused(planned: object, given_: object) -> None:
    assert variables({"a": planned}, {"a": given_}) == "variable a"


@pytest.mark.parametrize(
    ("planned", "given_"),
    [("5", 6), (None, ""), ("", None), ([1], [1, 2]), ({"x": 1}, {"y": 1}), ([], {}), ("x", ["x"]), ("x", ...)],
)
def test_another_value_or_one_that_cannot_be_told_is_a_difference(planned: object, given_: object) -> None:
    assert variables({"a": planned}, {"a": given_}) == "variable a"
    assert variables({"a": planned}, {"a": given_}, vouched=True) == "variable a"


def test_a_value_that_nothing_here_gives_needs_somebody_who_answers_for_the_plan() -> None:
    assert variables({"a": "evil"}, {}) == "variable a"
    assert variables({"a": "meant"}, {}, vouched=True) == ""
    assert variables({}, {"b": 1}, vouched=True) == "variable b"
    assert variables({"undeclared": 1}, {"other": 2}) == ""


@given(st.binary(max_size=50), st.binary(max_size=50), st.integers(16, 64))
def test_a_digest_lets_only_its_own_plan_pass(plan: bytes, other: bytes, length: int) -> None:
    digest = sha256(plan).hexdigest()[:length]
    check_digest(plan, digest)
    check_digest(plan, f"sha256:{digest}")
    check_digest(plan, digest.upper())
    if other != plan:
        with pytest.raises(PolicyGate):
            check_digest(other, digest)


def test_what_is_no_digest_lets_no_plan_pass() -> None:
    for text in ("", "sha256:", "abc", "g" * 64, "0" * 15, "0" * 65):
        assert not is_digest(text)
        with pytest.raises(PolicyGate):
            check_digest(b"plan", text)
    assert is_digest(short_digest(digest_of(b"plan")))
