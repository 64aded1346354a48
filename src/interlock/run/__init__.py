"""One run of Terraform, supervised: it takes a turn, plans, applies exactly that plan, and stops safely."""

from interlock.run.interrupts import Action, Cause, respond
from interlock.run.order import Operation, Order
from interlock.run.phases import HOLDING, STEPS, Phase, may_step

__all__ = ["HOLDING", "STEPS", "Action", "Cause", "Operation", "Order", "Phase", "may_step", "respond"]
