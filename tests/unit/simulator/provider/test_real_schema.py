"""The stand-in's types against the stored facts of the real provider's schema (`tests/provider_schema.py`)."""

import threading
from typing import Any

import pytest
from tests.provider_schema import Lines, kept_facts, of_message

from interlock.simulator.provider.provider import Genesyscloud

# What the real provider has and the stand-in lacks, with everything inside; this list may only shrink.
LACKING = {
    "genesyscloud_routing_queue": (
        "bullseye_rings",
        "canned_response_libraries",
        "conditional_group_activation",
        "conditional_group_routing_rules",
        "direct_routing",
        "ignore_members",
        "media_settings_call.sub_type_settings",
        "media_settings_callback.answering_machine_flow_id",
        "media_settings_callback.answering_machine_reaction_type",
        "media_settings_callback.auto_answer_alert_tone_seconds",
        "media_settings_callback.auto_dial_delay_seconds",
        "media_settings_callback.auto_end_delay_seconds",
        "media_settings_callback.enable_auto_dial_and_end",
        "media_settings_callback.live_voice_flow_id",
        "media_settings_callback.live_voice_reaction_type",
        "media_settings_callback.manual_answer_alert_tone_seconds",
        "media_settings_callback.mode",
        "media_settings_callback.pacing_modifier",
        "media_settings_callback.sub_type_settings",
        "media_settings_chat.sub_type_settings",
        "media_settings_email.sub_type_settings",
        "media_settings_message.sub_type_settings",
        "outbound_email_address",
        "source_queue_id",
    ),
    "genesyscloud_user": ("addresses", "routing_utilization", "voicemail_userpolicies"),
}


def own_facts() -> dict[str, Lines]:
    provider: Any = Genesyscloud({}, speed=1.0, stopping=threading.Event())
    named = [("genesyscloud_", each) for each in provider.get_resources()]
    named += [("data.genesyscloud_", each) for each in provider.get_data_sources()]
    return {prefix + each.get_name(): of_message(each.get_schema().to_pb().block) for prefix, each in named}


OWN = own_facts()


def is_lacking(kind: str, name: str) -> bool:
    return any(name == each or name.startswith(each + ".") for each in LACKING.get(kind, ()))


@pytest.mark.parametrize("kind", sorted(OWN))
def test_what_the_stand_in_has_is_as_the_real_provider_has_it(kind: str) -> None:
    real = {name: line for name, line in kept_facts()[kind].items() if not is_lacking(kind, name)}
    assert OWN[kind] == real


def test_what_is_said_to_be_lacking_is_lacking() -> None:
    for kind, names in LACKING.items():
        for name in names:
            assert name in kept_facts()[kind]
            assert name not in OWN[kind]
