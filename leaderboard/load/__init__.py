"""Records, per-sample scores and published numbers, as frames."""
