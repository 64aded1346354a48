import importlib.util
import os

import pytest

from interlock.cli.demo import _check_parts
from interlock.errors import UsageError


def test_the_demo_says_what_it_lacks_and_the_one_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="simulated provider, tf and a Terraform") as caught:
        _check_parts({"PATH": ""})
    assert caught.value.fix == "pip install 'interlock[demo]'"


def test_the_environment_of_the_tests_lacks_nothing() -> None:
    _check_parts(os.environ)
