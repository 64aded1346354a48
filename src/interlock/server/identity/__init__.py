"""Who a CI job or a person is to the server: trust rules, the exchange of identity tokens, logins.

`claims.py`, `rules.py` and `deciding.py` decide and are pure; the other files fetch keys, keep records and answer.
"""
