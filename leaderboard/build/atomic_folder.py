"""Atomic replacement of a folder: readers see the old site or the new one."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import HomeError

MARK = "fwi-peft-bench-site"
"""A file of this name tells that a folder is a site of ours and may be replaced."""
_LOCK = "fwi-peft-bench-report"
"""In a working folder; the system gives the lock of a killed process back."""


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
    try:
        with FileLock(desk / _LOCK):
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
        _end(desk, out)


def _prefix(out: Path) -> str:
    return f".{out.name}.report-"


def _replaceable(out: Path) -> bool:
    return out.is_dir() and ((out / MARK).exists() or not any(out.iterdir()))


def _clear(out: Path) -> None:
    """End the working folders of reports that were killed; those at work hold their lock."""
    if not out.parent.is_dir():
        return
    for desk in [p for p in out.parent.iterdir() if p.name.startswith(_prefix(out))]:
        if (desk / _LOCK).is_file():
            try:
                with FileLock(desk / _LOCK, timeout=0):
                    _end(desk, out)
            except (Timeout, OSError):
                continue


def _end(desk: Path, out: Path) -> None:
    """Remove a working folder; an interrupt between the two renames gives the old site back."""
    if (desk / "old").exists() and not out.exists():
        (desk / "old").replace(out)
    shutil.rmtree(desk, ignore_errors=True)
