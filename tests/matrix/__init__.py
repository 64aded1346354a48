"""What a plan takes out of a state, tried on real Terraforms: every operation, every fault, every store."""
