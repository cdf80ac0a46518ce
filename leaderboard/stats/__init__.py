"""Intervals, comparisons and ranks."""
