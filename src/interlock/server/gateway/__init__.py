"""One gateway for all runs of an organisation, whatever machine they run on, and the organisations that a server knows.

The OAuth clients live here, encrypted, and nowhere else: a run gets a placeholder, good while it holds its state.
"""
