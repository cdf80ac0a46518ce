"""Weights as files: upstream's checkpoints, deltas, what users do with them."""
