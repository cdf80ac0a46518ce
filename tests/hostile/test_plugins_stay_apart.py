"""Plugins that misbehave spoil nobody's numbers, and end nothing but their own fits.

Each file in `plugins/` is a method that does one bad thing. They are trained and scored in one
process, a good method after them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Bench
from homes import assert_same, copy, records, remove_runs

from bench.entry_points import HARNESS
from bench.plugins import registry

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
IN_A_FIT = {
    # what it does to the process: the words by which the record names it
    "grad_off": "changed the gradient mode of the whole process in adapt",
    "float64": "changed the default dtype",
    "meta_device": "changed the default device",
    "global_hook": "changed global hooks of modules",
    "one_thread": "changed the number of threads",
    "determinism": "changed deterministic algorithms",
    "bfloat16_kernels": "the float32 precision of matrix products",
    "denormals": "changed the flushing of denormal numbers",
    "optimiser_hook": "changed global hooks of modules",
    "unseeded": "changed torch.manual_seed",
    "patched_class": "changed torch.nn.modules.batchnorm.BatchNorm2d.__call__",
    "patched_scorer": "changed bench.training.evaluate.score_batch",
    "patched_metric": "changed torch.nn.functional.conv2d of the whole process in scoring on",
    "fake_module": "changed sys.modules['numpy']",
    "inference": "changed the inference mode",
    "dispatch_mode": "changed torch's dispatch modes",
    "elsewhere": "changed the working directory",
    "silencer": "changed sys.stdout",
    "redirector": "changed sys.stderr",
    "deaf": "changed signal handlers",
    "alarm_clock": "changed timers",
    "other_home": "changed environment variables",
    "strict_warnings": "changed the warning filters",
    "strict_numpy": "changed numpy's error handling",
    "shallow": "changed the recursion limit",
    "thread_left": "one of its own still runs",
    # how it fails
    "exits": "failed in adapt: SystemExit: 0 (exits.py:9)",
    "leaves_hard": "failed in adapt: SystemExit: os._exit(0)",
    "interrupts": "failed in training: KeyboardInterrupt (interrupts.py:8)",
    "exits_when_scored": "failed in scoring on FlatVel_B: SystemExit: enough",
    "own_exception": "failed in finish: Fatal: no way",
    "unspeakable": "failed in adapt: UnspeakableError: its text cannot be made",
    "surrogate": "ValueError: half a pair: \N{REPLACEMENT CHARACTER}, and a red word: "
    "\N{REPLACEMENT CHARACTER}[31mred",
    "long_winded": "failed in adapt: ValueError: very very very",
    "harness_error": "failed in training: data1.npy is damaged (harness_error.py:8)",
    "stops_iterating": "(penalty is a number): StopIteration",
    "no_groups": "returns a NoneType as its groups",
    "text_scale": "the learning_rate_scale 'fast', which is out of range",
    "integer_parameter": "a parameter of type torch.int64 in group 'steps'",
    "undoes_training": "has trained nothing",
    "moves_when_scored": "' while it was scored",
}
AT_IMPORT = {
    "interrupts_at_import": "KeyboardInterrupt",
    "exits_at_import": "SystemExit: os._exit(0)",
    "fatal_at_import": "BaseException: \N{REPLACEMENT CHARACTER}",
    "all": "the name 'all' stands for all methods; choose another.",
    "foundation": "the name 'foundation' is the pretraining of the foundation; choose another.",
}
MEDDLING_AT_IMPORT = {
    "patches_at_import": "its import changed torch.nn.functional.conv2d; that has been put back.",
    "gradless_at_import": "its import changed the gradient mode; that has been put back.",
}
CRASHING = ("crashes", "aborts")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python path with every misbehaving plugin installed."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "hostile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    names = sorted(p.stem for p in HERE.glob("plugins/[a-z]*.py") if p.stem != "common")
    assert {*names} == {*IN_A_FIT, *AT_IMPORT, *MEDDLING_AT_IMPORT, *CRASHING}
    lines = [f"{name} = plugins.{name}:method" for name in names]
    (info / "entry_points.txt").write_text("\n".join([f"[{registry.GROUP}]", *lines]) + "\n")
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join(filter(None, (str(folder), str(HERE), known)))


@pytest.fixture(scope="module")
def together(
    site: str,
    ran: tuple[Path, object],
    tiny_track: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, dict[str, object]]]:
    """A home in which all of them have been fitted, and lora after them; what came of each."""
    home = tmp_path_factory.mktemp("hostile")
    copy(ran[0], home, "data", "foundations", "runs")
    remove_runs(home, "Style_B")
    result = home / "result.json"
    done = subprocess.run(
        [sys.executable, HERE / "drive.py", home, tiny_track, result, *IN_A_FIT, "lora"],
        env=os.environ | {"PYTHONPATH": site, "BENCH_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.exists(), (done.returncode, done.stdout, done.stderr)
    found: dict[str, dict[str, object]] = json.loads(result.read_text(encoding="utf-8"))
    return home, found


Together = tuple[Path, dict[str, dict[str, object]]]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", IN_A_FIT)
def test_a_bad_plugin_gets_a_failed_record_and_changes_nothing(
    name: str, together: Together
) -> None:
    found = together[1][name]
    assert found["status"] == "failed"
    error = str(found["error"])
    assert f"'{name}'" in error
    assert IN_A_FIT[name] in error
    assert len(error) < 2500
    assert error.isprintable()
    assert found["cells"] == 0, "no score of it is kept"
    assert found["same"], "the process computes something else afterwards"


@pytest.mark.exhaustive
def test_a_good_method_beside_them_keeps_its_numbers(
    together: Together, ran: tuple[Path, object]
) -> None:
    home, found = together
    assert found["choosing"]["same"]
    assert found["lora"]["status"] == "done"
    assert_same(home, ran[0], "lora", "foundation")


@pytest.mark.exhaustive
def test_all_methods_are_listed_whatever_a_plugin_does(
    site: str, bench: Bench, tmp_path: Path
) -> None:
    done = bench("methods", "--json", home=tmp_path, PYTHONPATH=site, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    own = {m["name"] for m in told["methods"] if m["distribution"] == HARNESS}
    assert own == {n for n, i in registry.load().methods.items() if i.distribution == HARNESS}
    foreign = {m["name"] for m in told["methods"]} - own
    assert foreign == {*IN_A_FIT, *CRASHING, *MEDDLING_AT_IMPORT}
    problems = {p["name"]: p["reason"] for p in told["problems"]}
    assert problems.keys() == AT_IMPORT.keys()
    for name, words in AT_IMPORT.items():
        assert words in problems[name]
        assert len(problems[name]) < 2500
    meddlers = {p["name"]: p["reason"] for p in told["meddlers"]}
    assert meddlers == MEDDLING_AT_IMPORT
    plain = bench("methods", home=tmp_path, PYTHONPATH=site, OMP_NUM_THREADS="1")
    assert plain.returncode == 0
    assert "gradless_at_import" in plain.stderr


def test_only_what_is_named_is_imported(site: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from bench.plugins import options, registry\n"
        "options.methods(['lora,grad_off'], options.load(['lora,grad_off']))\n"
        "registry.get('head'), registry.names()\n"
        "print(sorted(m for m in sys.modules if m.startswith('plugins.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": site},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == "['plugins.common', 'plugins.grad_off']"


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        pytest.param("crashes", 11, "Segmentation fault", marks=pytest.mark.exhaustive),
        ("aborts", 6, "Aborted (aborts.py:12)"),
    ],
)
def test_a_crash_is_found_at_the_next_start_and_the_others_go_on(
    name: str,
    number: int,
    kind: str,
    site: str,
    ran: tuple[Path, object],
    bench: Bench,
    tiny_track: Path,
    tmp_path: Path,
) -> None:
    copy(ran[0], tmp_path, "data", "foundations", "runs")
    remove_runs(tmp_path, "Style_B")
    words = ("run", "--method", f"{name},lora", "--protocol", "ood", "--track", str(tiny_track))
    first = bench(*words, home=tmp_path, PYTHONPATH=site)
    assert first.returncode == -number, first.stderr
    second = bench(*words, home=tmp_path, PYTHONPATH=site)
    assert second.returncode == 1, second.stderr
    found = records(tmp_path, name).values()
    assert [record.status for record in found] == ["failed"] * 4
    assert all(f"The process crashed: {kind}" in (record.error or "") for record in found)
    assert f"Method '{name}' is not tried" in second.stderr
    assert_same(tmp_path, ran[0], "lora", "foundation")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("check", "exits"), 1, "failed in adapt: SystemExit: 0 (exits.py:9)"),
        pytest.param(("check", "interrupts"), 1, "KeyboardInterrupt", marks=pytest.mark.exhaustive),
        pytest.param(
            ("methods",), 0, "the name 'all' stands for all methods", marks=pytest.mark.exhaustive
        ),
        (
            ("run", "-m", "lora,interrupts_at_import", "-p", "id", "--dry-run"),
            2,
            "Method 'interrupts_at_import' of package hostile cannot be used: KeyboardInterrupt",
        ),
    ],
)
def test_commands_about_a_bad_plugin_end_with_a_sentence(
    words: tuple[str, ...], code: int, text: str, site: str, bench: Bench, tmp_path: Path
) -> None:
    done = bench(*words, home=tmp_path, PYTHONPATH=site, OMP_NUM_THREADS="1")
    assert done.returncode == code, done.stderr
    assert text in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr
    assert "Interrupted" not in done.stderr
