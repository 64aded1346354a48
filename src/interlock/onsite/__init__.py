"""Runs on a state that stays where it is: the queue beside it, the door to it, and what dead runs left of it."""
