"""What a machine keeps for its people: queue, states, runs, and the states that it has worked with."""
