"""Settings: their values, where they are read from, the shape of interlock.yaml, and whose word counts for which."""
