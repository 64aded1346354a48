"""The JSON API of a server as both ends spell it: what is asked, what is answered, and how a refusal is told.

`interlock.server.api` performs it, clients ask it. Knows no network.
"""

from interlock.api.problem import PROBLEM_TYPE, Problem, error_of, problem_of

__all__ = ["PROBLEM_TYPE", "Problem", "error_of", "problem_of"]
