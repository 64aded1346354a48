"""Public helpers for our tests and for authors of stores and coordinators.

Import the module you need: `interlock.testing.clock`, `.ids`, `.store_contract`, `.coordinator_contract`. The contract
suites need pytest; nothing else here does.
"""
