"""What a version stands for: the numbers of every built-in method and backbone.

A run id names the version of a method, not its source text. So a change of behaviour must raise the
version: where a test here fails, either the change was not meant, or raise `version` (of the
`Method` or the `Backbone`) and write the table anew with

    python tests/methods/behaviour.py
"""

import json
from typing import Any

import matrix
import pytest
from behaviour import BACKBONES, METHODS, TABLE, backbone_numbers, method_numbers

from bench.plugins import registry


def check(kind: str, name: str, numbers: dict[str, Any]) -> None:
    known = json.loads(TABLE.read_text(encoding="utf-8"))[kind]
    assert name in known, f"'{name}' has no numbers yet: run python tests/methods/behaviour.py"
    expected = known[name]
    if numbers["version"] != expected["version"]:
        pytest.fail(f"The version of '{name}' was raised: write the table anew.")
    for key in numbers.keys() - {"version"}:
        # Adam enlarges rounding, which depends on the threads: after the last step more than before
        tolerance = 1e-6 if key == "losses" else 1e-4
        assert numbers[key] == pytest.approx(expected[key], abs=tolerance), (
            f"'{name}' gives other numbers than its version {numbers['version']} stands for."
        )


def test_the_table_covers_every_method_and_backbone() -> None:
    """An ordinary run compares some of them; the rest is `exhaustive`."""
    known = json.loads(TABLE.read_text(encoding="utf-8"))
    assert {*known["methods"]} == {*METHODS}
    assert {*known["backbones"]} == {*BACKBONES}


@pytest.mark.parametrize("name", matrix.part(METHODS, *matrix.METHODS))
def test_a_method_behaves_as_its_version_says(name: str) -> None:
    check("methods", name, method_numbers(registry.load().get(name).method))


@pytest.mark.parametrize("name", matrix.part(BACKBONES, "inversionnet_quarter", "hybrid_vit"))
def test_a_backbone_behaves_as_its_version_says(name: str) -> None:
    check("backbones", name, backbone_numbers(name))
