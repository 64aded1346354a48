"""One collector per file. Each returns evidence and never decides."""
