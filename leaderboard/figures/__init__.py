"""Figures of frames and records, as SVG and PNG."""
