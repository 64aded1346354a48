"""P11 over any address and any spelling: one name a state, and a declared backend is found wherever it stands."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.coordinator.names import check_state_name
from interlock.existing.discovery import find
from interlock.site.naming import name_of
from interlock.source.tree import MemoryTree

pytestmark = pytest.mark.promise("P11")

KINDS = st.sampled_from(["s3", "gcs", "http", "pg", "local"])
ADDRESSES = st.one_of(
    st.text(min_size=1, max_size=80),
    st.lists(st.sampled_from(["env:", "prod", "a", "..", "", "A", "-md5", "x" * 90]), min_size=1).map("/".join),
)
FILLER = st.sampled_from(
    [
        "",
        '# backend "local" {}\n',
        '/* terraform {\n backend "gcs" {}\n} */\n',
        'locals {\n  backend = "gcs"\n}\n',
        'variable "cloud" {}\n',
        'output "o" {\n  value = <<-E\n    terraform { backend "pg" {} }\n  E\n}\n',
    ]
)
SPACE = st.sampled_from(["\n", "\n\n", " # c\n", "\r\n", "\n  /* c */ \n"])
NAMES = st.sampled_from(["main", "backend", "#odd", "zz-last", "a b", "override", "x_override"])


@given(KINDS, ADDRESSES, ADDRESSES)
def test_two_addresses_never_share_a_queue_and_one_always_has_the_same(kind: str, one: str, other: str) -> None:
    name = name_of(kind, one)
    assert check_state_name(name) == name == name_of(kind, one)
    assert (name == name_of(kind, other)) == (one == other)


@given(name=NAMES, kind=KINDS, before=FILLER, after=FILLER, space=SPACE, in_json=st.booleans())
def test_a_declared_backend_is_found_whatever_stands_around_it(
    name: str, kind: str, before: str, after: str, space: str, *, in_json: bool
) -> None:
    block = f'terraform {{{space}  backend "{kind}" {{{space}    key = "k"{space}  }}{space}}}\n'
    as_json = json.dumps({"terraform": {"backend": {kind: {"key": "k"}}}})
    files = {f"root/{name}.tf.json": as_json} if in_json else {f"root/{name}.tf": f"{before}{block}{after}"}
    found = find(MemoryTree({**files, "root/other.tf": before}), "root", {}, ())
    assert found.type == kind
