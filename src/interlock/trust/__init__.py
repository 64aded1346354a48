"""Whose word counts: which files are ours alone, which are a change's, and where credentials may go."""
