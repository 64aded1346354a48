"""Who may do what to which state: roles, tokens, and one function that decides.

The book of tokens is a hand and is imported by full path: `interlock.rights.book`.
"""

from interlock.rights.roles import RIGHTS, Right, Role, check_glob, matches, may
from interlock.rights.token import Binding, Token, TokenText, check_token, parse_token

__all__ = [
    "RIGHTS",
    "Binding",
    "Right",
    "Role",
    "Token",
    "TokenText",
    "check_glob",
    "check_token",
    "matches",
    "may",
    "parse_token",
]
