"""``--method``, ``--set`` and ``--grid``: what is chosen, refused, left out."""

import pytest

from bench.errors import BenchError, ConfigError, MethodError
from bench.plugins import options, registry
from bench.plugins.options import Choice
from bench.protocol import protocols

BACKBONE = "inversionnet"


def chosen(names: str, *settings: str, skip: bool = False) -> tuple[list[Choice], list[str]]:
    found = options.methods([names], registry.load())
    return options.choose(found, settings, BACKBONE, skip_unfit=skip)


def configs(choices: list[Choice]) -> list[tuple[str, dict[str, object]]]:
    return [(c.installed.method.name, c.config.model_dump(exclude_defaults=True)) for c in choices]


def test_settings_go_to_every_method_that_has_the_option_or_to_one() -> None:
    choices, _ = chosen("fft,lora,dora", "rank=8", "dora.alpha=4", "learning_rate_scale=2")
    assert configs(choices) == [
        ("fft", {"learning_rate_scale": 2.0}),
        ("lora", {"learning_rate_scale": 2.0, "rank": 8}),
        ("dora", {"learning_rate_scale": 2.0, "rank": 8, "alpha": 4.0}),
    ]


def test_a_protocol_for_methods_from_scratch_needs_none_named() -> None:
    everything = registry.load()
    found = options.methods([], everything, protocols.get("pretrain"))
    assert "baseline" in [i.method.name for i in found]
    assert {i.method.traits.start for i in found} == {"scratch"}
    assert options.methods(["fft"], everything, protocols.get("pretrain")) != found
    for name in set(protocols.names()) - {"pretrain"}:
        with pytest.raises(ConfigError, match="Name a method with --method"):
            options.methods([], everything, protocols.get(name))


def test_a_rank_changes_the_count_as_computed_by_hand() -> None:
    """Half the rank, half the parameters of A and B: 1,148,480 at rank 16."""
    (choice,), _ = chosen("lora", "rank=8")
    assert choice.trainable_parameters == 1_148_480 // 2


@pytest.mark.parametrize(
    ("names", "settings", "expected"),
    [
        ("fft", ["rank=8"], "Unknown option 'rank' of method 'fft'"),
        ("fft,lora", ["rnak=8"], "Unknown option 'rnak'. Did you mean 'rank'?"),
        ("lora", ["fft.rank=8"], "Unknown method in --set 'fft'"),
        ("lora", ["rank"], "write it as option=value"),
        ("lora", ["alpha=-1"], "Option 'alpha' of method 'lora'"),
        ("lora", ["alpha=NaN"], "Option 'alpha' of method 'lora'"),
        ("lora", ["learning_rate_scale=Infinity"], "Option 'learning_rate_scale'"),
        ("lora", ["rank=4000"], "at most 512"),
    ],
)
def test_bad_settings_are_refused(names: str, settings: list[str], expected: str) -> None:
    with pytest.raises(BenchError) as caught:
        chosen(names, *settings)
    assert expected in str(caught.value)


def test_all_leaves_out_what_the_network_cannot_take() -> None:
    choices, left_out = chosen("all", skip=True)
    names = [c.installed.method.name for c in choices]
    assert {"baseline", "fft", "lora"} <= set(names)
    assert "layernorm" not in names
    assert any(line.startswith("layernorm left out: ") for line in left_out)
    with pytest.raises(MethodError):
        chosen("layernorm")


def test_all_leaves_out_a_config_that_the_network_cannot_take() -> None:
    choices, left_out = chosen("all", "lora.rank=4000", skip=True)
    assert "lora" not in [c.installed.method.name for c in choices]
    assert any(line.startswith("lora left out: Rank 4000") for line in left_out)


def grid(
    names: str, *words: str, settings: tuple[str, ...] = (), skip: bool = False
) -> tuple[list[Choice], list[str]]:
    choices, _ = chosen(names, *settings)
    sweep = protocols.get("sweep")
    return options.grids(
        choices, words, BACKBONE, skip_unfit=skip, common=sweep.grid, own=sweep.own_grids
    )


def test_default_grid_of_lora_is_the_papers() -> None:
    candidates, left_out = grid("lora")
    tried = {(c.config.model_dump()["rank"], c.config.model_dump()["alpha"]) for c in candidates}
    sizes = (4, 8, 16, 32, 64, 128)
    assert tried == {(rank, alpha) for rank in sizes for alpha in sizes}
    assert len(candidates) == 36
    assert not left_out


def test_grid_words_make_all_combinations_on_top_of_the_settings() -> None:
    candidates, _ = grid("lora", "rank=4,8", "alpha=8,16", settings=("learning_rate_scale=2",))
    assert [c.config.model_dump(exclude_defaults=True) for c in candidates] == [
        {"learning_rate_scale": 2.0, "rank": 4, "alpha": 8.0},
        {"learning_rate_scale": 2.0, "rank": 4},
        {"learning_rate_scale": 2.0, "rank": 8, "alpha": 8.0},
        {"learning_rate_scale": 2.0, "rank": 8},
    ]


def test_infeasible_points_are_left_out_with_a_line() -> None:
    candidates, left_out = grid("lora", "rank=4,4000")
    assert len(candidates) == 1
    assert left_out[0].startswith("lora with rank=4000 left out of the sweep: Rank 4000")
    with pytest.raises(ConfigError, match="Rank 4000"):
        grid("lora", "rank=4000")


def test_a_method_without_a_grid_of_its_own_sweeps_the_learning_rate() -> None:
    candidates, _ = grid("fft")
    assert [c.config.learning_rate_scale for c in candidates] == [0.1, 0.3, 1.0, 3.0]
    candidates, _ = grid("fft", "learning_rate_scale=0.5,1,2")
    assert [c.config.learning_rate_scale for c in candidates] == [0.5, 1.0, 2.0]


def test_words_leave_methods_without_the_option_out_of_the_sweep() -> None:
    with pytest.raises(ConfigError, match="'fft' has none of the options that --grid names"):
        grid("fft,lora", "rank=4,8")
    candidates, left_out = grid("fft,lora,none", "rank=4,8", skip=True)
    assert [c.installed.method.name for c in candidates] == ["lora", "lora", "none"]
    assert left_out == ["Left out of the sweep: 'fft' has none of the options that --grid names."]


def test_a_method_that_trains_nothing_has_one_config_to_sweep() -> None:
    candidates, left_out = grid("none")
    assert len(candidates) == 1
    assert not left_out


def test_a_bad_grid_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="Option 'rank' of method 'lora'"):
        grid("lora", "rank=0,4")
