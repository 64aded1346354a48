from __future__ import annotations

from interlock.existing.hazards import Objects, find_hazards

STATES = Objects(bucket="b", key="*", workspace_prefix="env:", locks=True)


def texts(**found: object) -> list[str]:
    usual = {"rules": (), "policy": None, "table": None, "ttl_attribute": "", "ttl_wanted": "ExpirationTime"}
    return [hazard.text for hazard in find_hazards(STATES, **{**usual, **found})]  # type: ignore[arg-type]


def test_without_rules_there_is_no_hazard() -> None:
    assert texts() == []


def test_where_the_state_is_not_known_any_prefix_may_be_its_own_but_ours() -> None:
    rule = {"Status": "Enabled", "Expiration": {"Date": "2027-01-01"}}
    assert "deletes current states at 2027-01-01" in texts(rules=({**rule, "Filter": {"Prefix": "team/"}},))[0]
    assert texts(rules=({**rule, "Filter": {"Prefix": ".interlock/"}},)) == []


def test_what_a_policy_excepts_is_not_denied() -> None:
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject"}
    excepting = {**denied, "NotResource": ["arn:aws:s3:::b/*.tflock", "arn:aws:s3:::b/.interlock/*"]}
    assert texts(policy={"Statement": [excepting]}) == []
    assert texts(policy={"Statement": [{**denied, "NotResource": "arn:aws:s3:::b/*.tflock"}]}) != []


def test_an_attribute_by_which_items_expire_is_a_hazard_unless_it_is_ours() -> None:
    assert texts(table="t", ttl_attribute="ExpirationTime") == []
    (text,) = texts(table="t", ttl_attribute="expires")
    assert "expires" in text
