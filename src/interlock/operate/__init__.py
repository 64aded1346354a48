"""What a person, or the API, asks of states and runs, answered with plain values."""
