"""The rules that a machine can keep: style, types, import contracts, what starts without torch."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "ruff", "check", "."),
        ("-m", "ruff", "format", "--check", "."),
        pytest.param(("-m", "mypy"), marks=pytest.mark.exhaustive),
        ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"),
    ],
    ids=["ruff check", "ruff format", "mypy", "import contracts"],
)
def test_tool(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "module",
    ["bench.cli", "bench.records.record", "bench.protocol.fingerprint", "leaderboard.build.render"],
)
def test_imports_without_torch(module: str) -> None:
    done = run("-c", f"import sys, {module}; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


ORDINARY_WORDS = {"bias", "batchnorm", "head", "attention", "layernorm", "prompt", "none"}
"""Names of methods that are torch's words too."""


def test_nothing_in_the_harness_names_a_method() -> None:
    """A method's name as a string in `bench/` would be a special case."""
    names = {p.stem for p in (ROOT / "methods").glob("[a-z]*.py")} - ORDINARY_WORDS
    for path in (ROOT / "bench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant):
                assert node.value not in names, f"{path}:{node.lineno} names {node.value}"


def test_no_two_classes_share_a_name() -> None:
    names = Counter(
        node.name
        for room in ("bench", "methods", "leaderboard")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    modules = [
        p for room in ("bench", "methods", "leaderboard") for p in (ROOT / room).rglob("*.py")
    ]
    assert [p for p in modules if p.stem in sys.stdlib_module_names] == []
