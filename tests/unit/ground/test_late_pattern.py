"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import interlock
from interlock.late_pattern import _Late, late, late_bytes


def test_a_late_pattern_finds_what_a_compiled_one_finds() -> None:
    text, flags = r"(\w+)=(\d+)", re.IGNORECASE
    now, then = re.compile(text, flags), late(text, flags)
    for _ in range(2):
        assert [found.groups() for found in then.finditer("a=1 B=22")] == [
            found.groups() for found in now.finditer("a=1 B=22")
        ]
        assert then.sub("x", "a=1") == "x"
        assert then.pattern == text
    assert late_bytes(rb"\d").findall(b"a1") == [b"1"]


def test_a_late_pattern_is_no_more_than_a_pattern() -> None:
    with pytest.raises(AttributeError):
        late("a").unknown  # type: ignore[attr-defined]  # noqa: B018 - it must fail


def test_every_pattern_of_ours_can_be_compiled() -> None:
    names = [found.name for found in pkgutil.walk_packages(interlock.__path__, "interlock.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    patterns = [value for module in modules for value in vars(module).values() if isinstance(value, _Late)]
    assert len(patterns) > 50
    for pattern in patterns:
        assert isinstance(getattr(pattern, "groups"), int)  # noqa: B009 - which compiles it
