"""Every setting there is, and what an experiment's change of one leaves alone."""

from vaelab.config import defaults

SECTIONS = [
    "data",
    "model",
    "encoder",
    "posterior",
    "objective",
    "learning",
    "train",
    "evaluate",
    "inference",
    "evidence",
]


def test_a_config_has_the_sections_and_no_two_share_one():
    config, other = defaults.get_config(), defaults.get_config()
    for name in SECTIONS:
        assert config[name].to_dict() == getattr(defaults, name)().to_dict()
    config.train.optimizer.learning_rate = 7.0
    config.inference.flow.objective.num_samples = 7
    assert other.train.optimizer.learning_rate == defaults.optimizer("adam").learning_rate
    assert config.inference.gaussian.objective.num_samples == other.inference.flow.objective.num_samples == 10


def test_an_optimizer_and_a_search_have_their_changes_and_every_other_setting():
    changed = defaults.optimizer("adamw", weight_decay=0.5)
    assert (changed.name, changed.weight_decay) == ("adamw", 0.5)
    assert changed.to_dict() | {"name": "adam", "weight_decay": 0.0} == defaults.optimizer("adam").to_dict()
    assert defaults.modes(num_nodes=17).num_nodes == 17
    assert defaults.modes(num_nodes=17).keys() == defaults.modes().keys()


def test_a_loop_holds_what_it_was_given():
    loop = defaults.local_loop(7, "stick_the_landing", defaults.optimizer("adam"))
    assert (loop.num_steps, loop.objective.name, loop.optimizer.name) == (7, "stick_the_landing", "adam")
