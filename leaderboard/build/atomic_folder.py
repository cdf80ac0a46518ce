"""Atomic replacement of a folder: readers see the old site or the new one."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import HomeError
from bench.leases import Leases

MARK = "fwi-peft-bench-site"
"""A file of this name tells that a folder is a site of ours and may be replaced."""
_CLAIM = "report"
"""Lease in a working folder."""
_ABANDONED_SECONDS = 3600.0
"""A lease changes every few seconds, and clocks of machines differ by minutes at most."""


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Context with a new folder, which replaces `out` when the block ends without an error.

    What a killed report left beside `out` is cleared away first. Raises `HomeError` if `out` holds
    something that is not a site, or cannot be written.
    """
    out = out.expanduser().absolute()
    _clear(out)
    if out.exists() and not _replaceable(out):
        raise HomeError(
            f"{out} is not empty and not a leaderboard site; choose another folder with --out."
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        desk = Path(tempfile.mkdtemp(dir=out.parent, prefix=_prefix(out)))
    except OSError as error:
        raise HomeError(f"Cannot write beside {out}: {error.strerror or error}.") from error
    fresh = desk / "new"
    lease = None
    try:
        lease = Leases(desk).acquire(_CLAIM, f"the report in {out}")
        fresh.mkdir()
        (fresh / MARK).write_text("")
        yield fresh
        if out.exists():
            out.replace(desk / "old")
        fresh.replace(out)
    except OSError as error:
        raise HomeError(
            f"Cannot write the site to {out}: {error.strerror or error}; "
            "free space or choose another folder with --out."
        ) from error
    finally:
        if lease is not None:
            lease.release()
        _end(desk, out)


def _prefix(out: Path) -> str:
    return f".{out.name}.report-"


def _replaceable(out: Path) -> bool:
    return out.is_dir() and ((out / MARK).exists() or not any(out.iterdir()))


def _clear(out: Path) -> None:
    """End the working folders of reports that were killed: on this machine at once, on another one
    when their lease has not changed for an hour. A report at work keeps its own."""
    if not out.parent.is_dir():
        return
    for desk in [p for p in out.parent.iterdir() if p.name.startswith(_prefix(out))]:
        claims = Leases(desk)
        if not any(claims.owners()):  # it is being made
            continue
        try:
            lease = claims.acquire(_CLAIM, f"clearing {desk}")
        except OSError:
            continue
        if lease is not None:
            _end(desk, out)
            lease.release()
        elif _untouched_seconds(desk) > _ABANDONED_SECONDS:
            _end(desk, out)


def _untouched_seconds(desk: Path) -> float:
    """Since the last change of a lease in a folder; 0 where there is none any more."""
    try:
        return time.time() - max(path.stat().st_mtime for path in desk.glob("*.lease"))
    except (OSError, ValueError):
        return 0.0


def _end(desk: Path, out: Path) -> None:
    """Remove a working folder; an interrupt between the two renames gives the old site back."""
    if (desk / "old").exists() and not out.exists():
        (desk / "old").replace(out)
    shutil.rmtree(desk, ignore_errors=True)
