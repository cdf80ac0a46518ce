"""Datasets as files: generation, discovery, checks, reading, batches on the device."""
