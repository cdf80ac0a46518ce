"""The record of a fit with its scores and maps, as files."""
