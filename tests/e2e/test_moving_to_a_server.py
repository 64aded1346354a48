"""States move from a laptop's own store to the team's server and back; no run ever works on what was left."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from tests.desk import Answer, Desk
from tests.team import TOKEN, TeamServer, a_team

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P1", "P3", "P11")]


class Laptop:
    """One that works on its own, or at the server."""

    def __init__(self, folder: Path, server: TeamServer) -> None:
        folder.mkdir()
        self.desk = Desk(folder)
        self._at = {"INTERLOCK_SERVER": server.url, "INTERLOCK_TOKEN": TOKEN}

    def alone(self, *words: object) -> Answer:
        return self.desk.run(*words)

    def at_server(self, *words: object) -> Answer:
        return self.desk.run(*words, environ=self._at)


def next_words(refused: Answer) -> list[str]:
    """Return the first command of the line that says what to do next."""
    line = next(line for line in refused.err.splitlines() if line.startswith("  next"))
    return shlex.split(line.removeprefix("  next").strip().partition("    ")[0])[1:]


@pytest.mark.slow  # a server, five runs; each write of a move is tried in tests/contract
def test_the_state_of_a_laptop_is_moved_to_the_server_and_back_by_the_commands_that_are_printed(tmp_path: Path) -> None:
    with a_team(tmp_path, laptops=0) as (server, _):
        laptop = Laptop(tmp_path / "anna", server)
        module = laptop.desk.module()
        for round_ in (1, 2):
            applied = laptop.desk.applied(module, round_=round_)
            assert applied.code == 0, applied.err
        name = laptop.desk.summary().state
        refused = laptop.at_server("apply", module, "--auto-approve", "--first-apply", "--state", name)
        assert refused.code == 3, "begun anew, everything would be created a second time"
        assert next_words(refused) == ["state", "import", name]
        assert next_words(laptop.at_server("adopt", module, "--state", name)) == ["state", "import", name]
        moved = laptop.at_server(*next_words(refused), "--yes", "--json")
        assert moved.code == 0, moved.err
        [row] = moved.document["states"]
        [here] = laptop.alone("state", "ls", "--json").document["states"]
        [there] = laptop.at_server("state", "ls", "--json").document["states"]
        assert here["head"]["digest"] == there["head"]["digest"] == row["sha256"]
        assert there["head"]["number"] == row["earlier_versions"] + 1 == here["head"]["number"]
        same = ("plan", module, "--state", name, "--detailed-exitcode", "--", "-var", "round=2")
        clean = laptop.at_server(*same)
        assert clean.code == 0, clean.err
        left = laptop.alone(*same)
        assert left.code == 3, left.err
        assert next_words(left) == ["login", server.url]
        assert f"interlock state export {name}" in left.err
        back = laptop.at_server("state", "export", name, "--yes")
        assert back.code == 0, back.err
        away = laptop.at_server(*same)
        assert next_words(away) == ["state", "import", name], away.err
        clean = laptop.alone(*same)
        assert clean.code == 0, clean.err
        laptop.desk.close()
