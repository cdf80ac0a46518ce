"""Training and scoring of one network: loop, numerics, costs."""
