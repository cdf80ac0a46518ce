"""What killed writers leave, and who removes it."""

import os
from pathlib import Path

from bench.atomic import remove_leftovers, write_atomically
from bench.runner.workspace import Workspace


def test_old_notes_of_killed_writers_go_and_young_ones_stay(tmp_path: Path) -> None:
    home = Workspace(tmp_path)
    (home.hashes).mkdir()
    old, young = home.hashes / ".a.json.1234abcd", home.hashes / ".b.json.1234abcd"
    kept = home.hashes / "c.json"
    for path in (old, young, kept):
        path.write_bytes(b"{")
    os.utime(old, (1, 1))
    os.utime(kept, (1, 1))
    Workspace(tmp_path)
    assert not old.exists() and young.exists() and kept.exists()
    remove_leftovers(home.hashes)
    assert not young.exists() and kept.exists()


def test_a_file_may_be_written_by_way_of_another_folder(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    write_atomically(tmp_path / "shared/x", b"1", temporary=own)
    assert (tmp_path / "shared/x").read_bytes() == b"1"
    assert list(own.iterdir()) == []
