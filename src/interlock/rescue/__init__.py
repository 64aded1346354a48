"""Locks and states of every backend, as a person asks about them: may this lock be broken, is this state whole.

Hands above `compose`: each is imported by full path.
"""
