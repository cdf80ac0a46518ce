"""Networks: backbones, memory-frugal layers, checkpoints and deltas."""
