"""The record of a fit and the scores beside it, as files."""
