"""Whole lives of the provider's types: created, read, changed, imported, changed by others, exported, destroyed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.real_provider.trial import ROOMS, Trial, types_of

from interlock.simulator import Delays, Terms

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.real_provider]

NO_DELETION = {"flowoutcome"}  # the API has none
EXPORTED = ROOMS
KEPT_VERSIONS = {"evaluationform"}  # a published version stays when its draft is deleted


@pytest.mark.parametrize("room", ROOMS)
def test_each_type_of_the_room_lives_a_whole_life(trial: Trial, room: str) -> None:
    module = trial.room(room)
    trial.applied(module)
    trial.unchanged(module)
    changed = trial.room(room, 2)
    trial.applied(changed)
    trial.unchanged(changed)
    assert {each["type"] for each in trial.resources()} == types_of(room)
    other = trial.room(room, 2, "other", trial.imports())
    answer = trial.run("apply", other, "--auto-approve", state="imported")
    assert answer.code == 0, answer.err[-6000:]
    assert len(trial.resources("imported")) == len(trial.resources())
    trial.unchanged(other, "imported")
    destroyed = trial.run("destroy", changed, "--auto-approve")
    assert destroyed.code == 0, destroyed.err[-6000:]
    left = {kind for kind, items in trial.simulation.snapshot().items() if items}
    assert left <= {"division", *NO_DELETION, *KEPT_VERSIONS}


def test_the_lives_are_of_more_than_forty_types() -> None:
    assert len(set().union(*(types_of(room) for room in ROOMS))) > 60


# Kinds whose description the configuration of a room says.
DESCRIBED = {
    "menus": ("emergencygroup", "prompt"),
    "telephony": ("site", "edgegroup", "trunkbase", "outboundroute", "phonebase", "didpool", "extensionpool"),
}


@pytest.mark.parametrize("room", DESCRIBED)
def test_what_somebody_changed_in_the_organisation_is_planned_back(trial: Trial, room: str) -> None:
    module = trial.room(room)
    trial.applied(module)
    org, moment = trial.simulation.org, trial.moment()
    for kind in DESCRIBED[room]:
        described = next(each for each in org.living(kind) if each.body.get("description") == "v1 d")
        org.change(described, {**described.body, "description": "changed by hand"}, moment)
    answer = trial.run("plan", module, "--detailed-exitcode")
    assert answer.code == 2
    assert f"{len(DESCRIBED[room])} to change" in answer.out + answer.err
    trial.applied(module)
    assert not [each.id for kind in DESCRIBED[room] for each in org.living(kind) if "hand" in str(each.body)]


TRUNK_ON_AN_EDGE = """
resource "genesyscloud_telephony_providers_edges_trunkbasesettings" "t" {{
  name               = "Carrier"
  trunk_meta_base_id = "external_sip.json"
  trunk_type         = "EXTERNAL"
}}
resource "genesyscloud_telephony_providers_edges_trunk" "t" {{
  trunk_base_settings_id = genesyscloud_telephony_providers_edges_trunkbasesettings.t.id
  edge_id                = "{edge}"
}}
"""


def test_a_trunk_on_an_edge_is_made_imported_and_stays_when_it_is_no_longer_managed(trial: Trial) -> None:
    body = {"name": "Office", "edgeGroup": {}, "state": "active"}
    edge = trial.simulation.org.add("edge", body, trial.moment()).id  # no resource of the provider makes one
    module = trial.write(TRUNK_ON_AN_EDGE.format(edge=edge))
    trial.applied(module)
    trial.unchanged(module)
    trunk = next(each["attributes"] for each in trial.resources() if each["type"].endswith("_trunk"))
    assert (trunk["edge_id"], trunk["edge_group_id"]) == (edge, None)
    other = trial.write(TRUNK_ON_AN_EDGE.format(edge=edge) + trial.imports(), "other")
    trial.applied(other, state="imported")
    trial.unchanged(other, "imported")
    trial.applied(
        trial.write(
            TRUNK_ON_AN_EDGE.format(edge=edge).partition('resource "genesyscloud_telephony_providers_edges_trunk" ')[0]
        )
    )
    assert [each["type"] for each in trial.resources()] == ["genesyscloud_telephony_providers_edges_trunkbasesettings"]
    kept = trial.simulation.snapshot()["edge"][0]["edgeGroup"]["edgeTrunkBaseAssignment"]["trunkBase"]["id"]
    assert kept == trunk["trunk_base_settings_id"]  # the provider takes back no assignment


def test_what_somebody_deleted_is_made_again(trial: Trial) -> None:
    module = trial.write('resource "genesyscloud_flow_milestone" "m" {\n  name = "Paid"\n}\n')
    trial.applied(module)
    org = trial.simulation.org
    org.remove(next(org.living("flowmilestone")), trial.moment())
    trial.applied(module)  # the provider asks for five minutes before it believes that the object is gone
    assert trial.names("flowmilestone") == ["Paid"]


@pytest.mark.parametrize("room", EXPORTED)
def test_the_organisation_is_exported_as_configuration(trial: Trial, room: str) -> None:
    trial.applied(trial.room(room))
    folder, kinds = trial.desk.folder / "exported", sorted(types_of(room))
    module = trial.write(
        f"""
resource "genesyscloud_tf_export" "all" {{
  directory                = "{folder}"
  include_state_file       = false
  export_format            = "hcl"
  include_filter_resources = {json.dumps(kinds)}
}}
""",
        "export",
    )
    trial.applied(module, state="export")
    text = "".join(path.read_text() for path in folder.glob("*.tf"))
    assert [kind for kind in kinds if f'resource "{kind}"' not in text] == []


def test_more_than_forty_types_are_exported() -> None:
    assert len(set().union(*(types_of(room) for room in EXPORTED))) > 40


# The provider reads a site once, right after it made it, and gives up when it is not seen yet.
LATE = {
    "menus": Delays(read_s=1.0, list_s=2.0, media_s=2.0),
    "telephony": Delays(list_s=2.0),
}


@pytest.mark.parametrize("room", LATE)
def test_a_reader_that_lags_behind_does_not_break_a_life(trial_with: Callable[[Terms], Trial], room: str) -> None:
    trial = trial_with(Terms(limits=(), delays=LATE[room]))
    module = trial.room(room)
    trial.applied(module)
    trial.unchanged(module)
