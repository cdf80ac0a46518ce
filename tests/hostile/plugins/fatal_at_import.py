"""Raises a text that cannot be printed when it is imported."""

from plugins.common import make

raise BaseException("\udc80" * 10_000_000)

method = make(__name__)
