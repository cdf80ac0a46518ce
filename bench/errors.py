"""Errors of the harness: each message says what is wrong, where, and what to do next."""

from collections.abc import Iterable
from difflib import get_close_matches


class BenchError(Exception):
    """Something the user can mend; the command line prints it as one sentence and exits with 2."""


class UnknownNameError(BenchError):
    """A name that is not among the known ones; the message offers the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        ask = f" Did you mean '{near[0]}'?" if near else ""
        listing = ", ".join(names) or "none"
        super().__init__(f"Unknown {kind} '{name}'.{ask} Known: {listing}.{hint}")


class ConfigError(BenchError):
    """An option of a method, track or command that is not valid."""


class DataError(BenchError):
    """A data file that is missing, damaged or not what its name says."""


class HomeError(BenchError):
    """The home folder cannot be used: not writable, full, or not a folder."""


class FoundationError(BenchError):
    """A checkpoint or delta that cannot be read or does not fit the network."""


class PluginError(BenchError):
    """A plugin that cannot be loaded or does not keep its contract."""


class MethodError(PluginError):
    """A method that cannot be loaded or does not keep its contract."""


class BackboneError(PluginError):
    """A backbone that cannot be loaded or does not keep its contract."""


class RecordError(BenchError):
    """A record that cannot be read."""
