"""One state, wherever it is: which one is meant, and everything that can be asked of it."""
