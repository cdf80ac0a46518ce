"""Velocity maps and records as files: made, found, checked, read, put on the device."""
