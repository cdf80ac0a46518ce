"""Errors of the harness: each message says what is wrong, where, and what to do next."""

from collections.abc import Iterable
from difflib import get_close_matches


class BenchError(Exception):
    """Something the user can mend; the command line prints it as one sentence and exits with 2."""


class UnknownNameError(BenchError):
    """A name that is not among the known ones; the message offers the nearest."""

    def __init__(
        self, kind: str, name: str, known: Iterable[str], hint: str = "", *, of: str = ""
    ) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        ask = f" Did you mean '{near[0]}'?" if near else ""
        listing = ", ".join(names) or "none"
        super().__init__(f"Unknown {kind} '{name}'{of}.{ask} Known: {listing}.{hint}")


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


_LONGEST_LINE = 2000


def describe(error: BaseException) -> str:
    """One line about an error: a `BenchError`'s own sentence, else its type and text.

    Never raises, whatever the error's class does, and can be written anywhere: characters that
    cannot be printed are replaced, and what is longer than 2,000 characters is cut.
    """
    try:
        text = one_line(str(error))
    except BaseException:  # the text is made by code of a plugin
        text = "its text cannot be made"
    if isinstance(error, BenchError) and text:
        return text
    kind = one_line(vars(type)["__name__"].__get__(type(error)))  # no metaclass is asked
    return f"{kind}: {text}" if text else kind


def one_line(text: str) -> str:
    """A text without line breaks, control characters and lone surrogates; cut where too long."""
    start = str.__getitem__(text, slice(_LONGEST_LINE + 1))  # of a subclass, too
    words = " ".join(start.split())
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
    return plain if len(start) <= _LONGEST_LINE else f"{plain[:_LONGEST_LINE]} …"
