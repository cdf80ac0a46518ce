"""A network in, a trained and scored network out: the loop, its numerics and its cost."""
