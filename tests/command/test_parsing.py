"""Flags and experiments as they are read: what is wrong is one line, whatever library it came from."""

import pytest
from absl import flags
from ml_collections import config_flags

from vaelab.command.parsing import parse
from vaelab.errors import ConfigError


def parsed(*arguments):
    values = flags.FlagValues()
    parse(["launch.py", *arguments], values)
    return values


def refusal(*arguments):
    with pytest.raises(ConfigError) as caught:
        parsed(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--confg=x"], "--confg is not a flag; did you mean '--config'?"),
        (["--xyzzy=1"], "--xyzzy is not a flag; see --help"),
        (["--config=experiments/nope.py"], "no experiment file experiments/nope.py"),
        (["--config=experiments/digits_gap.py:smok"], "unknown variant 'smok'; there are smoke"),
        (["--config=digits_gap:smok"], "; did you mean 'smoke'?"),
        (["--config.train.num_step=5"], "no setting 'num_step'; did you mean 'num_steps'"),
        (["--config.nothing_like_it=5"], "the config has no setting 'nothing_like_it'"),
        (["--config.trian.num_steps=5"], "no setting 'trian'; did you mean 'train'"),
        (["--config.train.num_steps.more=5"], "no setting 'more'"),
        (["--config.train.num_steps=many"], "--config.train.num_steps=many: must be an integer, not 'many'"),
        (["--config.train.num_steps=2.5"], "--config.train.num_steps=2.5: must be an integer, not '2.5'"),
        (["--config.train.optimizer.learning_rate=fast"], "learning_rate=fast: must be a number, not 'fast'"),
        (["--config.model.learn=perhaps"], "--config.model.learn=perhaps: must be True or False"),
        (
            ["--config.train=5"],
            "--config.train is a section: change a setting of it, --config.train.KEY=VALUE",
        ),
        (
            ["--config.train.num_steps"],
            "--config.train.num_steps needs a value: --config.train.num_steps=VALUE",
        ),
        (["train"], "'train' is not a flag; settings are --config.KEY=VALUE"),
        (["config.seed=1"], "'config.seed=1' is not a flag; did you mean --config.seed=1?"),
        (["workdir=a"], "'workdir=a' is not a flag; did you mean --workdir=a?"),
        (["--quiet=maybe"], "--quiet=maybe: must be True or False, not 'maybe'"),
        (["--num_processes=two"], "--num_processes=two: must be an integer, not 'two'"),
        (["--cpu_devices=0"], "--cpu_devices=0: 0 is not a positive integer"),
        (["--flagfile=/none/flags.txt"], "--flagfile=/none/flags.txt cannot be read: No such file"),
        (["--config="], "there is no experiment ; by name there is: "),
    ],
)
def test_a_mistyped_flag(arguments, says):
    assert says in refusal(*arguments)


def test_flags_of_a_file_that_is_no_text_are_refused(tmp_path):
    (tmp_path / "flags").write_bytes(bytes(range(128, 200)))
    assert "the file is no text" in refusal(f"--flagfile={tmp_path / 'flags'}")


def test_settings_change_the_config_and_are_known_as_changed():
    values = parsed(
        "--config=digits_gap:smoke",
        "--config.train.num_steps=7",
        "--config.model.hidden=(10, 20)",
        "--noconfig.model.learn",
        "--config.data.name",
        "mnist",
        "--workdir=run",
    )
    assert values.config.train.num_steps == 7
    assert values.config.model.hidden == (10, 20)
    assert (values.config.model.learn, values.config.data.name) == (False, "mnist")
    assert (values.config.smoke, values.workdir, values.quiet) == (True, "run", False)
    assert values.config.is_locked
    changed = config_flags.get_override_values(values["config"])
    assert changed.keys() == {"train.num_steps", "model.hidden", "model.learn", "data.name"}


def test_flags_in_a_file_are_the_same_as_typed(tmp_path):
    typed = ["--config=digits_gap:smoke", "--config.train.num_steps=7", "--workdir=run"]
    (tmp_path / "flags.txt").write_text("\n".join(["# of a trial", *typed]))
    for arguments in (typed, [f"--flagfile={tmp_path}/flags.txt"], ["--flagfile", f"{tmp_path}/flags.txt"]):
        values = parsed(*arguments)
        assert (values.config.train.num_steps, values.config.smoke, values.workdir) == (7, True, "run")
    (tmp_path / "flags.txt").write_text("--config.train.num_step=7")
    assert "did you mean 'num_steps'" in refusal(f"--flagfile={tmp_path}/flags.txt")
