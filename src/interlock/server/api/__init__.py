"""The JSON API, `/api/v1`: one table of endpoints, from which come routes, rights and the OpenAPI document.

An endpoint is one row (`table.Endpoint`): method, path, the right it needs, what it takes and what it answers, and the
function that does it. A part of the server gives its rows as a list, and `interlock.compose.serving` joins the lists.
"""

from interlock.server.api.table import Call, Endpoint, NoBody, NoQuery, OfState, Sent, acts, reads

__all__ = ["Call", "Endpoint", "NoBody", "NoQuery", "OfState", "Sent", "acts", "reads"]
