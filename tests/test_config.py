import json

import pytest

from stesa_cli.config import SHIPPED, Config, find_config
from stesa_cli.errors import ConfigError
from stesa_cli.model.network import ModelConfig
from stesa_cli.training.config import RunConfig

EVERY = sorted(str(path.relative_to(SHIPPED).with_suffix("")) for path in SHIPPED.rglob("*.toml"))


class Sample(Config):
    one: int
    two: dict[str, int] | None = None


@pytest.mark.parametrize("name", EVERY)
def test_every_shipped_config_is_valid_and_its_weights_can_be_read(name):
    config = RunConfig.load(name)
    assert config.steps > 0
    assert ModelConfig.parse(json.loads(config.model.model_dump_json())) == config.model  # as a checkpoint carries it


def test_all_problems_are_named_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('one = "x"\nthree = 3\n')
    with pytest.raises(ConfigError) as caught:
        Sample.load(path)
    assert "one:" in str(caught.value) and "three:" in str(caught.value) and str(path) in str(caught.value)


def test_a_config_says_only_what_differs_from_its_base(tmp_path):
    (tmp_path / "base.toml").write_text("one = 1\ntwo = { a = 1, b = 2 }\n")
    (tmp_path / "own.toml").write_text('base = "base"\n[two]\nb = 3\n')
    assert Sample.load(tmp_path / "own.toml") == Sample(one=1, two={"a": 1, "b": 3})


def test_unknown_and_broken_files(tmp_path):
    with pytest.raises(ConfigError, match="paper/gru_1gate"):
        find_config("nonsense")
    (tmp_path / "broken.toml").write_text("one = ")
    with pytest.raises(ConfigError, match="TOML"):
        Sample.load(tmp_path / "broken.toml")


def test_rows_of_the_papers_tables():
    def row(name: str) -> tuple:
        model = RunConfig.load(f"paper/{name}").model
        return model.recurrence, model.reset_gates, model.nlb, model.auxiliary

    assert row("stesa_gru") == ("gru", 1, "res3", True)
    assert row("stesa_gru_no_aux") == ("gru", 1, "res3", False)
    assert row("rvos") == ("lstm", 1, "none", False)
    assert row("gru_2gates") == ("gru", 2, "none", False)
    assert row("stesa_gru2_res4") == ("gru", 2, "res4", True)
    assert [row(f"lstm_res{k}")[2] for k in (3, 4, 5)] == ["res3", "res4", "res5"]
    assert len([name for name in EVERY if name.startswith("paper/")]) == 12


def test_adapted_changes_data_length_and_seed():
    config = RunConfig.load("stesa").adapted("stills,davis=3", 2016, steps=32, seed=7)
    assert config.steps == 32 and config.train.seed == 7
    assert all(stage.sources == {"stills": 1.0, "davis2016": 3.0} for stage in config.stages)
    with pytest.raises(ConfigError, match="not a weight"):
        RunConfig.load("stesa").adapted("davis=x")


def test_unknown_keys_are_named_with_what_may_be_meant():
    values = {"model": {"encoder": "resnet18", "memory": {"key": 1}}, "trian": {}, "train": {"sed": 1}}
    clip = {"lenght": 4, "quite_another": 1}
    stage = {"steps": 2, "sources": {"stills": 1}, "clip": clip}
    with pytest.raises(ConfigError) as caught:
        RunConfig.parse(values | {"stages": [stage]}, "own.toml")
    said = str(caught.value)
    for line in (
        "unknown key model.memory.key: did you mean keys?",
        "unknown key trian: did you mean train?",
        "unknown key train.sed: did you mean seed?",
        "unknown key stages.0.clip.lenght: did you mean length?",
        "unknown key stages.0.clip.quite_another: known are length, ",
    ):
        assert line in said
    assert "Extra inputs" not in said
