"""Real Terraform applies whose processes are killed and stopped at random from one seed, and what must hold after."""
