"""Training: regimes, one step, and the loop around it."""
