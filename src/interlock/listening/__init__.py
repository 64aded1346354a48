"""Listening to strangers: the one place for the limits of everything that listens. A hand: sockets and timers.

Whoever can reach an address can open connections and send nothing, or half of a request. So a connection that has no
whole request under way is a guest who may be shown out: when its time is over, or when there are too many and a new
one comes. One whose request is being worked on, such as a LOCK that waits for its turn, stays however long that takes.

`guests.py` counts connections, for any protocol; `strangers.py` tells which requests are not for us; `http.py` puts
both before uvicorn.
"""
