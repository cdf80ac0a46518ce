"""Boards and their tables."""
