"""Methods from other packages: found with their origin; broken ones reported, spoiling nothing."""

import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Inside
from packages import install
from torch import nn

from bench.contract import Adapted, Config
from bench.entry_points import PluginProblem
from bench.errors import BenchError, ConfigError, HomeError
from bench.plugins import registry, scaffold

LIST = """
import json
from bench.plugins import registry
from bench.errors import BenchError
found = registry.load()
def ask(name):
    try:
        return found.get(name).distribution
    except BenchError as error:
        return f"{type(error).__name__}: {error}"
print(json.dumps({
    "methods": {n: [i.distribution, i.distribution_version] for n, i in found.methods.items()},
    "problems": {f"{p.distribution}/{p.name}": p.reason for p in found.problems},
    "asked": {p.name: ask(p.name) for p in found.problems},
}))
"""


def python(*arguments: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with another folder of installed packages."""
    folders = os.pathsep.join(filter(None, (str(path), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": folders, "OMP_NUM_THREADS": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def listing(path: Path) -> dict[str, dict[str, object]]:
    result = python("-c", LIST, path=path, cwd=path)
    assert result.returncode == 0, result.stderr
    answer: dict[str, dict[str, object]] = json.loads(result.stdout)
    return answer


SOURCE = '''
"""A plugin."""
from bench.contract import Adapted, Method, ParameterGroup, Traits

def adapt(model, config):
    """Train it all."""
    group = ParameterGroup(name="all", parameters=tuple(model.parameters()))  # a comment
    return Adapted(model=model, groups=(group,))

def make(name):
    traits = Traits(category="full", batchnorm="both")
    return Method(name=name, summary="s", source="s", traits=traits, adapt=adapt)

method = make("NAME")
'''


def test_broken_plugins_are_reported_and_spoil_nothing(tmp_path: Path) -> None:
    own = set(registry.load().methods)
    install(tmp_path, "good-one", {"good": "method"}, SOURCE.replace("NAME", "good"))
    install(tmp_path, "no-import", {"missing": "method"}, "import a_module_that_is_not_there")
    install(tmp_path, "exits", {"leaver": "method"}, "raise SystemExit('bye')")
    install(tmp_path, "no-object", {"empty": "method"}, "")
    install(tmp_path, "no-method", {"number": "method"}, "method = 3")
    install(tmp_path, "no-policy", {"loose": "method"}, SOURCE.replace('"both"', '"free"'))
    install(tmp_path, "no-traits", {"bare": "method"}, SOURCE.replace("=traits", "=None"))
    demanding = "class Demanding(Config):\n    rank: int\n\ndef adapt"
    needs = SOURCE.replace("def adapt", demanding).replace(
        "adapt=adapt", "adapt=adapt, config=Demanding"
    )
    needs = needs.replace("import Adapted", "import Adapted, Config").replace("NAME", "needs")
    install(tmp_path, "no-default", {"needs": "method"}, needs)
    gridded = SOURCE.replace("adapt=adapt", 'adapt=adapt, grid={"rank": (1, 2)}')
    install(tmp_path, "no-option", {"gridded": "method"}, gridded.replace("NAME", "gridded"))
    raised = SOURCE.replace("adapt=adapt", 'adapt=adapt, unchanged={"inversionnet": 1}')
    install(tmp_path, "no-raise", {"raised": "method"}, raised.replace("NAME", "raised"))
    install(tmp_path, "no-metadata", {"bald": "method"}, "import a_module_that_is_not_there")
    (tmp_path / "no_metadata-2.5.dist-info" / "METADATA").unlink()
    install(tmp_path, "misnamed", {"alias": "method"}, SOURCE.replace("NAME", "other"))
    install(tmp_path, "usurper", {"lora": "method"}, SOURCE.replace("NAME", "lora"))
    for distribution in ("twin-a", "twin-b"):
        install(tmp_path, distribution, {"twin": "method"}, SOURCE.replace("NAME", "twin"))
    found = listing(tmp_path)

    assert set(found["methods"]) == own | {"good"}
    assert found["methods"]["good"] == ["good-one", "2.5"]
    assert found["methods"]["lora"][0] == registry.HARNESS
    expected = {
        "no-import/missing": "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
        "exits/leaver": "SystemExit: bye",
        "no-object/empty": "AttributeError: module 'no_object' has no attribute 'method'",
        "no-method/number": "no_method:method is a int, not a bench.contract.Method.",
        "no-policy/loose": "its Traits has a wrong batchnorm: Input should be 'frozen', 'affine', "
        "'statistics' or 'both' (given: 'free').",
        "no-traits/bare": "its Method has a wrong traits: Input should be a dictionary or an "
        "instance of Traits (given: None).",
        "no-default/needs": "its Demanding has a wrong rank: Field required (given: {}).",
        "no-option/gridded": "its grid names 'rank', which is no option of its config.",
        "no-raise/raised": "its version on 'inversionnet', 1, is not below its version 1; name in "
        "`unchanged` what an earlier version does the same on.",
        "unknown/bald": "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
        "misnamed/alias": "the object calls itself 'other', its entry point 'alias'; use one name.",
        "usurper/lora": f"'lora' is a method of {registry.HARNESS} itself, which keeps the name; "
        "rename it in usurper.",
        "twin-a/twin": "the name is claimed by more than one package (twin-a, twin-b); uninstall "
        "all but one.",
    }
    expected["twin-b/twin"] = expected["twin-a/twin"]
    assert found["problems"] == expected
    assert found["asked"]["lora"] == registry.HARNESS
    assert found["asked"]["missing"] == (
        "MethodError: Method 'missing' of package no-import cannot be used: "
        + expected["no-import/missing"]
    )


def test_code_hash_sees_code_and_not_its_dress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = {
        "plain": SOURCE,
        "dressed": SOURCE.replace("  # a comment", "").replace("Train it all.", "Train all of it.")
        + "\n\n",
        "other": SOURCE.replace('batchnorm="both"', 'batchnorm="affine"'),
    }
    monkeypatch.syspath_prepend(tmp_path)
    hashes = {}
    for name, source in variants.items():
        module = f"bench_test_plugin_{name}"
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        hashes[name] = registry.code_hash(importlib.import_module(module))
        monkeypatch.delitem(sys.modules, module)
    assert hashes["plain"] == hashes["dressed"] != hashes["other"]
    assert hashes["plain"] == "77fd4e0c6489a31e", "on every version of Python: run ids hold it"


@pytest.mark.exhaustive
def test_a_new_method_installs_and_conforms(tmp_path: Path) -> None:
    """The scaffold's package, installed by pip without a network, passes its own test."""
    reason = "pip builds the package with setuptools; older ones need the package wheel besides"
    pytest.importorskip("setuptools", minversion="70.1", reason=reason)
    package, site = scaffold.write("my_trick", tmp_path), tmp_path / "site"
    built = python(
        *("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"),
        *("--disable-pip-version-check", "--target", str(site), str(package)),
        path=tmp_path,
        cwd=tmp_path,
    )
    assert built.returncode == 0, built.stderr
    found = listing(site)
    assert found["problems"] == {}
    assert found["methods"]["my_trick"] == ["bench-method-my-trick", "0.1.0"]
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", path=site, cwd=package)
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout


@pytest.mark.parametrize("kind", ["method", "backbone"])
def test_a_new_package_passes_the_linter_of_the_plugin_workflow(kind: str, tmp_path: Path) -> None:
    package = scaffold.write("fresh", tmp_path, kind)
    linted = python("-m", "ruff", "check", "--isolated", ".", path=tmp_path, cwd=package)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.slow
def test_the_commands_for_authors(
    tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = inside("new-method", "fresh", "--folder", tmp_path)
    assert (code, out.count("\n")) == (0, 1)
    assert (tmp_path / "bench-method-fresh/pyproject.toml").is_file()
    assert f"pip install -e {tmp_path}" in out
    code, _, error = inside("new-method", "lora", "--folder", tmp_path)
    assert (code, "installed already" in error) == (2, True)

    code, out, _ = inside("check", "lora", "--set", "rank=2", "--json")
    assert code == 0
    assert {row["name"] for row in json.loads(out)} >= {"frozen stays frozen", "delta comes off"}
    for words, expected in (
        (("check", "lora", "--set", "rank=65"), "Error: Method 'lora': Rank 65 is larger"),
        (("check", "lora", "--set", "rnak=2"), "Unknown option 'rnak' of method 'lora'"),
        (("check", "nothing"), "Unknown method 'nothing'"),
    ):
        code, _, error = inside(*words)
        assert (code, expected in error) == (2, True)

    def fail(model: nn.Module, config: Config) -> Adapted:
        raise ArithmeticError("no luck")

    sound = registry.get("bitfit")
    broken = replace(sound, method=replace(sound.method, adapt=fail))
    monkeypatch.setattr(registry, "get", lambda name: broken)
    code, out, _ = inside("check", "bitfit")
    assert (code, out.count("no luck"), "as 'adapts'" in out) == (1, 1, True)
    assert out.splitlines()[-1].endswith(" checks, for 1 reason.")

    calls: list[int] = []

    def fail_once(model: nn.Module, config: Config) -> Adapted:
        calls.append(1)
        if len(calls) == 1:
            raise ArithmeticError("no luck")
        return sound.method.adapt(model, config)

    broken = replace(sound, method=replace(sound.method, adapt=fail_once))
    code, out, _ = inside("check", "bitfit")
    assert (code, "no luck" in out) == (1, True), "the suite sees the first call"


@pytest.mark.parametrize("name", ["", "Loud", "1st", "with-dash", "two words", "../up", "class"])
def test_bad_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no valid method name"):
        scaffold.write(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["all", "foundation", "floor"])
def test_names_that_stand_for_something_else_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"No method can be called '{name}', which "):
        scaffold.write(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_taken_names_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'lora' is installed already"):
        scaffold.write("lora", tmp_path)
    package = scaffold.write("fresh", tmp_path)
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    with pytest.raises(HomeError, match="exists already"):
        scaffold.write("fresh", tmp_path)
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == [package.name]
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="Cannot write"):
        scaffold.write("fresh", tmp_path / "file")


# --- backbones ------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_new_backbone_installs_conforms_and_counts(tmp_path: Path) -> None:
    """The scaffold's package, installed by pip without a network, passes its own test."""
    reason = "pip builds the package with setuptools; older ones need the package wheel besides"
    pytest.importorskip("setuptools", minversion="70.1", reason=reason)
    package, site = scaffold.write("my_net", tmp_path, "backbone"), tmp_path / "site"
    built = python(
        *("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"),
        *("--disable-pip-version-check", "--target", str(site), str(package)),
        path=tmp_path,
        cwd=tmp_path,
    )
    assert built.returncode == 0, built.stderr
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", path=site, cwd=package)
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout
    listed = python("-m", "bench", "backbones", "--json", path=site, cwd=tmp_path)
    (row,) = [r for r in json.loads(listed.stdout)["backbones"] if r["name"] == "my_net"]
    assert (row["distribution"], row["distribution_version"]) == ("bench-backbone-my-net", "0.1.0")
    by_hand = 5 * 32 * 15 + 32 + 32 * 64 * 9 + 64 + 64 * 32 * 9 + 32 + 32 * 9 + 1 + 2 * 128
    assert row["parameters"] == by_hand


def test_backbones_are_listed_with_their_parameters(inside: Inside) -> None:
    code, out, _ = inside("backbones", "--json")
    rows = {row["name"]: row for row in json.loads(out)["backbones"]}
    assert code == 0
    for name, parameters in (
        ("inversionnet", 24_409_123),
        ("inversionnet_quarter", 1_528_267),
        ("hybrid_vit", 3_489_057),
        ("caformer_unet", 26_390_865),
        ("fourier_deeponet", 7_056_848),
    ):
        assert rows[name]["parameters"] == parameters
    assert all(row["source"] for row in rows.values())
    assert "small" in rows["inversionnet_quarter"]["default_of"]
    code, out, _ = inside("backbones")
    assert code == 0
    assert all(name in out for name in rows)


@pytest.mark.exhaustive
def test_methods_that_do_not_apply_to_a_backbone_say_why(inside: Inside) -> None:
    lacking = {
        "inversionnet_quarter": {"attention", "layernorm", "prompt_tokens"},
        "fourier_deeponet": {"attention", "layernorm", "prompt_tokens"},
        "hybrid_vit": {"batchnorm", "batchnorm_stats"},
    }
    for backbone, names in lacking.items():
        code, out, _ = inside("methods", "--backbone", backbone, "--json")
        rows = {row["name"]: row for row in json.loads(out)["methods"]}
        assert code == 0
        assert {name for name, row in rows.items() if row["unsuited"]} == names
        for name in names:
            assert re.match(rf"not on {backbone}: needs \w+", rows[name]["unsuited"])
            assert rows[name]["trainable_parameters"] is None
    code, _, error = inside("methods", "--backbone", "hybrid_vti")
    assert (code, "Unknown backbone 'hybrid_vti'" in error, "hybrid_vit" in error) == (
        2,
        True,
        True,
    )


@pytest.mark.slow
def test_the_commands_for_authors_of_backbones(tmp_path: Path, inside: Inside) -> None:
    code, out, _ = inside("new-backbone", "fresh", "--folder", tmp_path)
    assert code == 0
    assert (tmp_path / "bench-backbone-fresh/pyproject.toml").is_file()
    assert f"pip install -e {tmp_path}" in out
    code, _, error = inside("new-backbone", "inversionnet", "--folder", tmp_path)
    assert (code, "'inversionnet' is installed already" in error) == (2, True)
    assert inside("new-backbone", "floor", "--folder", tmp_path)[0] == 0  # a word for methods only

    code, out, _ = inside("check", "--backbone", "inversionnet_quarter", "--json")
    assert code == 0
    assert {row["name"] for row in json.loads(out)} >= {"frugal pass is exact", "builds"}
    code, out, _ = inside("check", "head", "--backbone", "inversionnet_quarter")
    assert code == 0
    assert "Method 'head' on inversionnet_quarter passes all" in out
    for words, expected in (
        (("check",), "Name what to check"),
        (("check", "hybrid_vit"), "'hybrid_vit' is a backbone: bench check --backbone hybrid_vit"),
        (("check", "--backbone", "nothing"), "Unknown backbone 'nothing'"),
        (("check", "-b", "inversionnet", "--set", "rank=2"), "--set is for a method"),
        (("check", "attention", "-b", "inversionnet_quarter"), "needs Attention or MultiheadAtt"),
        (("check", "lora", "--set", "layers=nothing"), "Error: Method 'lora': Unknown layer 'noth"),
    ):
        code, _, error = inside(*words)
        assert (code, expected in error) == (2, True)


class Unbuildable(Config):
    """Options that cannot be made."""

    def __init__(self, **values: object) -> None:
        raise ArithmeticError("no luck")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_all_methods_are_checked_on_a_backbone(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is sound, one is not, one needs other layers, one refuses, one cannot be imported."""

    def refuse(model: nn.Module, config: Config) -> Adapted:
        raise ConfigError("It leaves the encoder untouched.")

    found = registry.load().methods
    few = {
        "bitfit": found["bitfit"],
        "none": replace(found["none"], method=replace(found["none"].method, summary="")),
        "layernorm": found["layernorm"],
        "lora": replace(found["lora"], method=replace(found["lora"].method, adapt=refuse)),
    }
    broken = PluginProblem(name="mine", distribution="mine", reason="SyntaxError: invalid")
    registered = registry.Registry(methods=few, problems=(broken,))
    monkeypatch.setattr(registry, "load", lambda: registered)
    words = ("check", "all", "--backbone", "inversionnet_quarter")
    code, out, _ = inside(*words)
    assert code == 1
    lines = ["✗ mine: SyntaxError: invalid", "✓ bitfit: passes", "– layernorm: Method"]
    lines += ["– lora: It leaves the encoder untouched.", "✗ none: describes itself: "]
    for line in lines:
        assert line in out
    last = "1 of 2 methods pass all checks on inversionnet_quarter, 2 left out, 1 cannot be used."
    assert out.splitlines()[-1] == last
    code, out, _ = inside(*words, "--json")
    told = json.loads(out)
    assert (code, sorted(told["methods"])) == (1, ["bitfit", "none"])
    assert all(check["passed"] for check in told["methods"]["bitfit"])
    assert sorted(told["left_out"]) == ["layernorm", "lora"]
    assert [problem["name"] for problem in told["problems"]] == ["mine"]
    few["lora"] = replace(found["lora"], method=replace(found["lora"].method, config=Unbuildable))
    few["bitfit"] = replace(found["bitfit"], method=replace(found["bitfit"].method, adapt=refuse))
    del few["layernorm"], few["none"]
    code, out, _ = inside("check", "all")
    assert code == 1
    assert "✗ bitfit: adapts: It leaves the encoder untouched." in out, "there is no other network"
    assert "✗ lora: " in out
    assert out.splitlines()[-1] == "0 of 2 methods pass all checks, 1 cannot be used."
    code, _, error = inside("check", "all", "--set", "rank=2")
    assert (code, "--set is for one method" in error) == (2, True)


RAISES = """
    import torch
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
        def forward(self, x):
            return self.nope(x)
    return Net()
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_backbone_that_cannot_be_built_is_told_in_a_sentence(tmp_path: Path) -> None:
    source = """
from bench.contract import Backbone

def build():
    import a_module_that_is_not_there

backbone = Backbone(name="bare", summary="s", source="s", build=build)
"""
    install(tmp_path, "no-build", {"bare": "backbone"}, source)
    points = tmp_path / "no_build-2.5.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace(registry.GROUP, "bench.backbones"))
    shown = python("-m", "bench", "backbones", path=tmp_path, cwd=tmp_path)
    assert shown.returncode == 0
    assert "inversionnet" in shown.stdout
    assert "Backbone 'bare' failed in build: ModuleNotFoundError" in shown.stderr
    assert "Traceback" not in shown.stderr
    words = ("run", "-m", "fft", "--track", "smoke", "--backbone", "bare", "--home", str(tmp_path))
    refused = python("-m", "bench", *words, path=tmp_path, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("Error: Backbone 'bare' failed in build")
    asks = source.replace("import a_module_that_is_not_there", "raise ConfigError('use a library')")
    asks = "from bench.errors import ConfigError\n" + asks
    (tmp_path / "no_build.py").write_text(asks)
    refused = python("-m", "bench", *words, path=tmp_path, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "Error: use a library\n", "no method is at fault"
    raises = source.replace("    import a_module_that_is_not_there", RAISES)
    (tmp_path / "no_build.py").write_text(raises)
    for checked in ("lora", "all"):
        words = ("check", checked, "--backbone", "bare")
        refused = python("-m", "bench", *words, path=tmp_path, cwd=tmp_path)
        assert refused.returncode == 2, "no method is checked, let alone blamed"
        assert refused.stderr.startswith(
            "Error: Backbone 'bare' does not conform (predicts maps): "
        )
        assert "no attribute 'nope' (no_build.py:" in refused.stderr
        assert not refused.stdout
