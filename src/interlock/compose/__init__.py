"""The only place where hands are chosen and joined: stores, clocks, ids, the environment, servers."""
