"""One state, wherever it is: which one is meant, its queue, its versions, and a run's access to it."""
