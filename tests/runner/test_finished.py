"""The same command again says that nothing is to do without torch, until something has changed."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import homes
import matrix
import pytest
from conftest import Inside
from packages import install

from bench import installation
from bench.runner import plan

Ran = tuple[Path, subprocess.CompletedProcess[str]]

LAST = "Nothing to do: everything is recorded."
METHOD = """
from bench.contract import Adapted, Method, ParameterGroup, Traits

def adapt(model, config):
    *others, last = model.parameters()
    return Adapted(model=model, groups=(ParameterGroup(name="last", parameters=(last,)),))

method = Method(
    name="newcomer", summary="s", source="s", adapt=adapt,
    traits=Traits(category="selective", batchnorm="affine"),
)
"""


@pytest.fixture
def home(ran: Ran, tmp_path: Path) -> Path:
    """A copy in which the command has not been given yet."""
    homes.copy(ran[0], tmp_path / "home", "data", "foundations", "runs")
    return tmp_path / "home"


@pytest.fixture
def words(tiny_track: Path) -> tuple[object, ...]:
    return ("run", "--method", "baseline,fft,lora", "--protocol", "ood", "--track", tiny_track)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever a command looks for what there is to do."""
    made: list[int] = []
    original = plan.plan

    def counting(*arguments: object, **options: object) -> plan.Plan:
        made.append(1)
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(plan, "plan", counting)
    return made


def test_the_same_command_again_does_without_torch(home: Path, words: tuple[object, ...]) -> None:
    code = "import sys\nfrom bench.cli import main\n"
    code += "try: main()\nfinally: print('torch' in sys.modules)"

    def run() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            env=os.environ | {"BENCH_HOME": str(home)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    *first, imported = run()
    assert (LAST in first, imported) == (True, "True")
    *second, imported = run()
    assert (second, imported) == (first, "False")


def test_a_command_that_had_to_work_is_kept_as_well(
    home: Path, words: tuple[object, ...], inside: Inside, plans: list[int]
) -> None:
    homes.remove_runs(home, "Style_B")
    code, out, _ = inside(*words, home=home)
    assert (code, LAST in out) == (0, False)
    plans.clear()
    code, out, _ = inside(*words, home=home)
    assert (code, LAST in out, plans) == (0, True, [])


def remove_a_delta(home: Path) -> None:
    next(home.glob("runs/*/delta.safetensors")).unlink()


def remove_a_run(home: Path) -> None:
    shutil.rmtree(next(home.glob("runs/*")))


def edit_a_record(home: Path) -> None:
    path = next(home.glob("runs/*/record.json"))
    homes.replace(path, path.read_bytes() + b"\n")


def remove_a_dataset(home: Path) -> None:
    shutil.rmtree(next(home.glob("data/*/Style_A")))


CHANGES: list[Callable[[Path], None]] = [
    remove_a_delta,
    remove_a_run,
    edit_a_record,
    remove_a_dataset,
]


@pytest.mark.parametrize("change", matrix.part(CHANGES, remove_a_run))
def test_a_change_of_the_home_is_seen(
    change: Callable[[Path], None],
    home: Path,
    words: tuple[object, ...],
    inside: Inside,
    plans: list[int],
) -> None:
    inside(*words, home=home)
    plans.clear()
    inside(*words, home=home)
    assert plans == []
    change(home)
    inside(*words, "--dry-run", home=home)
    assert plans == [1]
    plans.clear()
    code, out, _ = inside(*words, home=home)
    assert code == 0
    assert plans
    assert (LAST in out) == (change in (edit_a_record, remove_a_dataset))


def test_other_words_settings_tracks_and_packages_are_seen(
    home: Path,
    words: tuple[object, ...],
    tiny_track: Path,
    inside: Inside,
    plans: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(*more: object) -> bool:
        """Whether the command looks for what there is to do; afterwards it is kept."""
        plans.clear()
        code, out, error = inside(*words, *more, home=home)
        assert (code, LAST in out) == (0, True), out + error
        return bool(plans)

    assert asked()
    assert not asked()
    assert not asked("--quiet"), "which only changes how it looks"
    assert asked("--seeds", "0")
    assert asked("--again")
    assert asked("--again"), "weights are looked at each time"
    with monkeypatch.context() as patch:
        patch.setenv("BENCH_CHECKPOINT_SHARE", "0.02")
        assert asked()
    assert not asked()
    text = tiny_track.read_text(encoding="utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(text, encoding="utf-8")
    words = (*words[:-1], mine)
    assert asked()
    assert not asked()
    mine.write_text(text.replace("gallery = 1", "gallery = 2"), encoding="utf-8")
    assert asked()
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", "bench-method-new", {"newcomer": "method"}, METHOD)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert asked()
    assert not asked()


@pytest.mark.parametrize(
    "more",
    [("--workers", 1), ("--device", "cpu"), ("--test-curve",), ("--stock",), ("--dry-run",)],
    ids=str,
)
def test_nothing_is_kept_where_more_than_the_home_decides(
    more: tuple[object, ...], home: Path, words: tuple[object, ...], inside: Inside
) -> None:
    assert inside(*words, *more, home=home)[0] == 0
    assert not (home / "finished").exists()


def test_nothing_is_kept_of_a_home_with_links_to_folders(
    home: Path, words: tuple[object, ...], inside: Inside, tmp_path: Path
) -> None:
    run = next(home.glob("runs/*"))
    run.rename(tmp_path / "elsewhere")
    run.symlink_to(tmp_path / "elsewhere")
    code, out, _ = inside(*words, home=home)
    assert (code, LAST in out, (home / "finished").exists()) == (0, True, False)


def test_nothing_is_kept_of_a_command_during_which_code_changed(
    home: Path, words: tuple[object, ...], inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter(["before", "after"])
    monkeypatch.setattr(installation, "state", lambda: next(states))
    homes.remove_runs(home, "Style_B")
    assert inside(*words, home=home)[0] == 0
    assert not (home / "finished").exists()


def test_an_installation_whose_code_is_not_found_has_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installation.state() == installation.state() is not None
    install(tmp_path, "bench-method-new", {"newcomer": "method"}, METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installation.state() is not None
    (tmp_path / "bench_method_new.py").unlink()
    importlib.invalidate_caches()
    assert installation.state() is None


def test_a_note_that_cannot_be_read_is_none(
    home: Path, words: tuple[object, ...], inside: Inside, plans: list[int]
) -> None:
    inside(*words, home=home)
    (note,) = home.glob("finished/*.json")
    for content in (b"", b"[]", b'{"state": 1}', b"\xff", b"[" * 100_000, note.read_bytes()[:-40]):
        note.write_bytes(content)
        plans.clear()
        code, out, _ = inside(*words, home=home)
        assert (code, LAST in out, plans) == (0, True, [1])
