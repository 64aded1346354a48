"""`interlock output`: a word that can be no output's name is not looked for among the outputs."""

from __future__ import annotations

import pytest

from interlock.cli.output import output
from interlock.errors import UsageError


@pytest.mark.parametrize("word", [".", "..", "live/prod", "./live"])
def test_a_folder_in_place_of_an_outputs_name_is_answered_with_the_flag_that_names_it(word: str) -> None:
    with pytest.raises(UsageError, match="not the name of an output") as failed:
        output(word)

    assert failed.value.fix == f"interlock output --state {word}"
