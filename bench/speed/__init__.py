"""`bench speed`: what this machine does a second, as ratios from one process run."""
