"""A real `terraform apply` of a state that a policy leaves a share of the API budget, with the simulated provider."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.desk import Desk
from tests.e2e.test_gateway_machines import lead_to

from interlock.simulator import Limit, Scope, Simulation, WindowKind
from interlock.simulator import Terms as Organisation
from interlock.simulator.asgi import serve_in_thread

pytestmark = [pytest.mark.e2e, pytest.mark.promise("P7")]

ALLOWED, WINDOW_S, SHARE = 40, 3.0, 0.3
LIMIT = Limit(key="org", scope=Scope.ORGANIZATION, allowed=ALLOWED, window_s=WINDOW_S, window=WindowKind.SLIDING)
SKILLS = (
    'terraform {\n  required_providers {\n    genesyscloud = { source = "mypurecloud/genesyscloud" }\n  }\n}\n'
    'resource "genesyscloud_routing_skill" "a" {\n  count = 8\n  name = "a-${count.index}"\n}\n'
)
SETTINGS = f"""version: 1
gateway:
  budgets:
    organisation: "{ALLOWED}/{WINDOW_S:g}s"
policies:
  - name: small
    states: s
    api_budget_share: {SHARE}
"""


def most_in_a_window(simulation: Simulation) -> int:
    at = sorted(entry.elapsed_s for entry in simulation.journal if entry.path.startswith("/api/"))
    return max(sum(begin <= each < begin + WINDOW_S for each in at) for begin in at)


def test_an_apply_and_the_plan_after_it_keep_to_the_states_share_and_say_so_before_they_begin(tmp_path: Path) -> None:
    with serve_in_thread(Simulation(Organisation(limits=(LIMIT,)))) as organisation:
        desk = Desk(tmp_path, lead_to(organisation, tmp_path))
        module = desk.module(text=SKILLS)
        (module / "interlock.yaml").write_text(SETTINGS)
        applied = desk.run("apply", module, "--state", "s", "--auto-approve", "--first-apply")
        assert applied.code == 0, applied
        assert "this state may use 30 % of the API budget (policy small)" in applied.err + applied.out
        forecast = desk.journal(kind="plan")[0].facts["forecast"]
        assert forecast["shortest_s"] >= (forecast["calls"] - SHARE * ALLOWED) / (SHARE * ALLOWED / WINDOW_S)
        counts = desk.journal(kind="gateway")[-1].facts
        assert counts["refused_by_api"] == 0
        assert counts["sent"] > SHARE * ALLOWED  # so it was kept to it
        planned = desk.run("plan", module, "--state", "s")
        assert planned.code == 0, planned
        assert organisation.simulation.statuses[429] == 0
        assert most_in_a_window(organisation.simulation) <= SHARE * ALLOWED
        shown = desk.run("policies", "show", "s", environ={"INTERLOCK_CONFIG": str(module / "interlock.yaml")})
        assert "at most 30 % of the API budget for each state" in shown.out, shown
        status = desk.run("status")
        assert "share of s" in status.out, status
        desk.close()
