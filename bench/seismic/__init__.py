"""Velocity maps, simulated records, units and metrics."""
