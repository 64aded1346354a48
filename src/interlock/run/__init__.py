"""One run of Terraform, supervised: it takes a turn, plans, applies exactly that plan, and stops safely.

The door is empty: every command that starts a run comes through it, and what it would re-export takes longer to import
than the start of the supervisor (see `spare.py`).
"""
