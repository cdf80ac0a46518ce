"""Has a name that is taken."""

from plugins.common import make

method = make(__name__)
