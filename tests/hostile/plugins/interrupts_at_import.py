"""Raises Ctrl-C when it is imported."""

from plugins.common import make

raise KeyboardInterrupt

method = make(__name__)
