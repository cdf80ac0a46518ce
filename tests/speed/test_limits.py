"""What limits a machine, from fractions worked out by hand."""

from typing import Any

from bench.speed import limits


def row(name: str, products: float, copies: float) -> dict[str, Any]:
    return {"name": name, "matrix_ceiling_fraction": products, "memory_ceiling_fraction": copies}


def test_each_limit_has_one_sentence_with_its_fractions() -> None:
    said = limits.sentences(
        [
            row("train fft", 0.651, 0.44),
            row("train lora", 0.75, 0.51),
            row("train norm", 0.3, 1.2),
            row("train head", 0.03, 0.36),
            row("reference train", 0.9, 0.1),
            {"name": "simulate"},
        ]
    )
    assert said == [
        "Arithmetic limits train fft, train lora: 65 to 75 % of the rate of a large matrix "
        "product, 44 to 51 % of that of a large copy.",
        "Memory bandwidth limits train norm: 30 % of the rate of a large matrix product, 120 % of "
        "that of a large copy.",
        "Neither arithmetic nor memory bandwidth limits train head: 3 % of the rate of a large "
        "matrix product, 36 % of that of a large copy. Small operations and the time to start them "
        "are what is left.",
    ]


def test_nothing_counted_is_nothing_said() -> None:
    assert limits.sentences([{"name": "read files"}]) == []
