"""Measurements of speed: they survive the file, and nothing hostile is read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from factory import measurement

from bench.errors import RecordError
from bench.records.measurement import LARGEST_BYTES, read, write

VALID = json.loads(measurement({"fft": (2.0, 4.0, 3.0)}).model_dump_json())


def changed(**values: Any) -> str:
    return json.dumps(VALID | values)


def loop(**values: Any) -> dict[str, Any]:
    return VALID["methods"][0] | values


def test_a_measurement_is_what_was_written(tmp_path: Path) -> None:
    made = measurement({"fft": (2.0, 4.0, 3.0), "lora": (1.0, 1.5, 1.0)})
    write(made, tmp_path / "speed" / "laptop.json")
    assert read(tmp_path / "speed" / "laptop.json") == made
    assert made.methods[1].seconds == (1.0, 1.5, 1.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "top level"),
        ("[" * 200_000, "top level"),
        ("\x00\xff", "top level"),
        ("[]", "top level"),
        ("{}", "backbone"),
        (changed(schema_version=2), "update fwi-peft-bench"),
        (changed(owner="me"), "owner"),
        (changed(batch=1), "batch"),
        (changed(batch=10**400), "batch"),
        (changed(backbone=VALID["backbone"] | {"name": "../../etc"}), "backbone.name"),
        (changed(methods=[]), "methods"),
        (changed(methods=[loop(), loop()]), "listed twice"),
        (changed(methods=[loop(seconds=[1.0, 2.0])]), "methods.0.seconds"),
        (changed(methods=[loop(seconds=[1.0] * 4)]), "as many turns"),
        (changed(methods=[loop(seconds=[1.0, -2.0, 1.0])]), "methods.0.seconds.1"),
        (changed(methods=[loop(seconds=[1.0, 0.0, 1.0])]), "methods.0.seconds.1"),
        (changed(methods=[loop(seconds=[1.0, float("nan"), 1.0])]), "methods.0.seconds.1"),
        (changed(methods=[loop(seconds=[1.0, float("inf"), 1.0])]), "methods.0.seconds.1"),
        (changed(methods=[loop(samples=0)]), "methods.0.samples"),
        (changed(methods=[loop(peak_bytes=-1)]), "methods.0.peak_bytes"),
        (" " * (LARGEST_BYTES + 1), "bytes"),
    ],
)
def test_what_is_no_measurement_is_refused_in_one_sentence(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "it.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(RecordError) as refused:
        read(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ") and said in text and "\n" not in text
    assert len(text) < 600


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    write(measurement({"fft": (1.0, 1.0, 1.0)}), tmp_path / "real.json")
    (tmp_path / "link.json").symlink_to("real.json")
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("link.json", "pipe.json", "missing.json"):
        with pytest.raises(RecordError):
            read(tmp_path / name)
