"""What a wheel of the project contains."""

import re
from pathlib import Path
from zipfile import ZipFile

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "methods", "leaderboard")
PUBLISHED = re.compile(r"leaderboard/records/[^/]+/")


def test_a_wheel_has_every_file_but_the_published_runs(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    published = {name for name in files if PUBLISHED.match(name)}
    assert published
    assert packed == files - published
