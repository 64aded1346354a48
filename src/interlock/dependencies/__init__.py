"""What needs what: Terraform's own references and the dependencies that it cannot see, with evidence and fixes."""

from interlock.dependencies.fix import apply_fixes
from interlock.dependencies.graph import Edge, Edit, Fix, Graph, Kind, Node, build_graph
from interlock.dependencies.impact import Impact, Race, find_impact, find_races
from interlock.dependencies.inventory import EMPTY, Inventory, from_plan_json, from_state
from interlock.dependencies.order import Budget, Order, plan_order
from interlock.dependencies.site import Root
from interlock.dependencies.trace import trace

__all__ = [
    "EMPTY",
    "Budget",
    "Edge",
    "Edit",
    "Fix",
    "Graph",
    "Impact",
    "Inventory",
    "Kind",
    "Node",
    "Order",
    "Race",
    "Root",
    "apply_fixes",
    "build_graph",
    "find_impact",
    "find_races",
    "from_plan_json",
    "from_state",
    "plan_order",
    "trace",
]
