"""`bench speed`: throughput of this machine, as ratios within one process."""
