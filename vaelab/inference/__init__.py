"""Local inference: the best member of a family for one datapoint, and how far a fit may be from it."""
