"""What may happen to a state without a further word, when, and who must agree: policies, approvals, two persons.

The hands are imported by full path: `interlock.policy.approval_book`, `policy_book`, `expressions`, `programs`.
"""

from interlock.policy.policy import NO_POLICIES, Layer, Policies, Policy, join
from interlock.policy.windows import Freeze, Held, Window

__all__ = ["NO_POLICIES", "Freeze", "Held", "Layer", "Policies", "Policy", "Window", "join"]
