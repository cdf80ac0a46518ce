"""Deaths of processes at work on a fit: a fit that kills two of them in a row is given up.

A process that is killed (by the kernel for want of memory, by hand, with its machine) can record
nothing. Whoever takes its claim over notes the death in the run's folder. Two deaths under one
plan, without a checkpoint in between, are the fit's own fault as far as can be known. Deaths under
other plans do not count: kill a command as often as you like, the next one goes on.
"""

from pathlib import Path

from pydantic import ValidationError

from bench.atomic import write_atomically
from bench.leases import Lease
from bench.protocol.spec import Frozen

FILE = "deaths.json"
_MOST = 2


class Death(Frozen):
    """One process that died at work."""

    plan: str
    who: str
    since: str
    progress: int
    """Checkpoint that it left, as in `bench.runner.resume.progress`."""


class _Deaths(Frozen):
    deaths: tuple[Death, ...]


def repeated(folder: Path, lease: Lease, progress: int) -> str | None:
    """Note the death that left this lease; one sentence if the fit has now killed too many.

    `progress` tells one checkpoint from another. The caller must hold the run's lease.
    """
    dead = lease.predecessor
    if dead is None or not dead.plan or dead.plan != lease.owner.plan:
        return None
    news = Death(plan=dead.plan, who=dead.where, since=dead.since, progress=progress)
    before = [d for d in _read(folder) if (d.plan, d.progress) == (news.plan, news.progress)]
    deaths = (*before, news)
    if len(deaths) < _MOST:
        write_atomically(folder / FILE, _Deaths(deaths=deaths).model_dump_json().encode())
        return None
    forget(folder)
    who = " and ".join(f"{death.who} (at work since {death.since})" for death in deaths)
    return f"Processes died at work on it without a word, as when memory runs out: {who}."


def forget(folder: Path) -> None:
    """Remove the notes of a run that has ended."""
    (folder / FILE).unlink(missing_ok=True)


def _read(folder: Path) -> tuple[Death, ...]:
    try:
        return _Deaths.model_validate_json((folder / FILE).read_bytes()).deaths
    except (OSError, ValidationError):
        return ()
