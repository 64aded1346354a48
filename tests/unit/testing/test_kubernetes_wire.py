"""Leases as Terraform 1.15.9 sent them to take and to give a lock, recorded; OpenTofu 1.12.6 sends the same."""

from __future__ import annotations

import base64
import json

from interlock.testing.kubernetes_wire import is_packed, read_lease

TAKING = base64.b64decode(
    "azhzAAofChZjb29yZGluYXRpb24uazhzLmlvL3YxEgVMZWFzZRLHAwqcAwoYbG9jay10ZnN0YXRlLWRlZmF1bHQtYXBwEgAaB2Rl"
    "ZmF1bHQiACoadmpkZXFiYnJhaDNzc3QzMDJ3dHk2NmU5NzAyBDEwMDc4AEIICO/6ttgGEABaKQocYXBwLmt1YmVybmV0ZXMuaW8v"
    "bWFuYWdlZC1ieRIJdGVycmFmb3JtWg8KB3Rmc3RhdGUSBHRydWVaGgoTdGZzdGF0ZVNlY3JldFN1ZmZpeBIDYXBwWhsKEHRmc3Rh"
    "dGVXb3Jrc3BhY2USB2RlZmF1bHRizwEKGmFwcC50ZXJyYWZvcm0uaW8vbG9jay1pbmZvErABeyJJRCI6ImUxOTViNWM2LTQxOTkt"
    "MjY0MS04ZjI2LTY4M2VjOTA4Nzk0MyIsIk9wZXJhdGlvbiI6Ik9wZXJhdGlvblR5cGVBcHBseSIsIkluZm8iOiIiLCJXaG8iOiJy"
    "b290QHZtIiwiVmVyc2lvbiI6IjEuMTUuOSIsIkNyZWF0ZWQiOiIyMDI2LTExLTMwVDE4OjE2OjE3LjczNDI5MTQ5NVoiLCJQYXRo"
    "IjoiIn0SJgokZTE5NWI1YzYtNDE5OS0yNjQxLThmMjYtNjgzZWM5MDg3OTQzGgAiAA=="
)
GIVING = base64.b64decode(
    "azhzAAofChZjb29yZGluYXRpb24uazhzLmlvL3YxEgVMZWFzZRLPAQrKAQoYbG9jay10ZnN0YXRlLWRlZmF1bHQtYXBwEgAaB2Rl"
    "ZmF1bHQiACoadmpkZXFiYnJhaDNzc3QzMDJ3dHk2NmU5NzAyBDEwMDg4AEIICO/6ttgGEABaKQocYXBwLmt1YmVybmV0ZXMuaW8v"
    "bWFuYWdlZC1ieRIJdGVycmFmb3JtWg8KB3Rmc3RhdGUSBHRydWVaGgoTdGZzdGF0ZVNlY3JldFN1ZmZpeBIDYXBwWhsKEHRmc3Rh"
    "dGVXb3Jrc3BhY2USB2RlZmF1bHQSABoAIgA="
)


def test_a_lease_in_protocol_buffers_is_read_as_one_in_json() -> None:
    taking, giving = read_lease(TAKING), read_lease(GIVING)
    said = json.loads(taking["metadata"].pop("annotations")["app.terraform.io/lock-info"])
    assert said["ID"] == taking["spec"]["holderIdentity"]
    assert (said["Version"], giving["spec"]) == ("1.15.9", {})
    assert (taking["metadata"].pop("resourceVersion"), giving["metadata"].pop("resourceVersion")) == ("1007", "1008")
    assert taking["metadata"] == giving["metadata"]
    assert giving["metadata"]["name"] == "lock-tfstate-default-app"
    assert giving["metadata"]["labels"]["tfstateSecretSuffix"] == "app"


def test_json_is_told_apart() -> None:
    assert (is_packed(TAKING), is_packed(b'{"metadata": {}}')) == (True, False)
