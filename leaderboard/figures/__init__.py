"""Frames and records → figures."""
