"""The levels of z in a config: what model, prior and families make of them, and what cannot be."""

import jax
import numpy as np
import pytest

from experiments import digits_gap, linear_gaussian
from tests.support.configs import changed, refused
from vaelab import data
from vaelab.config import defaults
from vaelab.config.experiment import build, read_model
from vaelab.config.levels import Levels, read_levels
from vaelab.config.section import Section


def section(**prior):
    config = defaults.model()
    for name, value in prior.items():
        changed(config, f"prior.{name}", value)
    return Section(config, "config.model")


def hierarchical(**changes):
    config = digits_gap.get_config("smoke")
    changes = {"model.prior.name": "hierarchy", "model.prior.levels": (7, 3), **changes}
    for name, value in changes.items():
        changed(config, name, value)
    return config


def test_levels_are_read_with_what_the_likelihood_reads():
    assert read_levels(section()) == Levels((), 10)
    assert read_levels(section(name="mixture", levels=(7, 3))) == Levels((), 10)
    assert read_levels(section(name="hierarchy", levels=(7, 3))) == Levels((7, 3), 7)
    assert read_levels(section(name="hierarchy", levels=[6, 3, 1], reads="all")) == Levels((6, 3, 1), 10)


def test_simulated_levels_read_the_first_alone():
    config = changed(linear_gaussian.get_config("hierarchy"), "model.prior.reads", "all")
    refused(lambda: build(config), "reads='all': is for decoders, and linear_gaussian reads the first level")


@pytest.mark.parametrize(
    ("prior", "says"),
    [
        ({"levels": (7, 2)}, "levels=(7, 2): are 9 dimensions in all, and model.latent_dim is 10; make them"),
        ({"levels": ()}, "levels=(): has no level; give numbers that are 10 in all"),
        ({"levels": (10, 0)}, "must be a tuple of positive layer widths"),
        ({"levels": (7, 3), "reads": "top"}, "unknown; there are first, all"),
    ],
)
def test_levels_that_cannot_be_are_one_line(prior, says):
    refused(lambda: read_levels(section(name="hierarchy", **prior)), says)


def test_the_decoder_has_as_many_inputs_as_it_reads_and_the_families_all_of_z():
    families = {"inference.families": ("diagonal", "per_level"), "posterior.family": "per_level"}
    experiment = build(hierarchical(**families))
    assert experiment.latent_model.levels == (7, 3)
    assert experiment.theta["likelihood"]["Dense_0"]["kernel"].shape[0] == 7
    assert experiment.theta["prior"]["level_1"]["weight_JxK"].shape == (3, 7)
    made = experiment.families
    assert {name: family.latent_dim for name, family in made.items()} == {"per_level": 10, "diagonal": 10}
    assert made["per_level"].param_size == 2 * 10 + 21 + 3
    top = Section(hierarchical(**{"model.prior.reads": "all"}))
    model = read_model(top, data.Known((8, 8), 16), lambda network: network)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert shapes["likelihood"]["Dense_0"]["kernel"].shape[0] == 10


def test_an_affine_decoder_of_the_first_level_is_still_concave_and_its_mean_reads_nothing_else():
    affine = hierarchical(**{"model.hidden": ()})
    experiment = build(affine)
    assert experiment.latent_model.concavity is None  # as the levels have hidden units
    model, theta = experiment.latent_model, experiment.theta
    z_K = np.arange(10, dtype=np.float32)
    other_K = np.where(np.arange(10) < 7, z_K, -z_K)
    np.testing.assert_array_equal(model.mean(theta, z_K), model.mean(theta, other_K))
    assert not np.array_equal(model.log_prior(theta, z_K), model.log_prior(theta, other_K))


def test_a_family_of_levels_needs_some():
    config = digits_gap.get_config("smoke")
    changed(config, "inference.families", ("diagonal", "per_level"))
    line = "per_level is for a z of levels, and this one has none; take --config.model.prior.name=hierarchy"
    refused(lambda: build(config), line)


def test_the_prior_s_numbers_in_a_q_do_not_decay():
    config = hierarchical(**{"posterior.family": "top_down", "objective.name": "elbo_from_draws"})
    changed(config, "inference.families", ("top_down",))
    changed(config, "inference.flow.optimizer.name", "adamw")
    refused(lambda: build(config), "name='adamw': decays the prior's numbers in the q of top_down; take adam")


def test_a_linear_gaussian_model_may_have_levels():
    config = linear_gaussian.get_config("hierarchy,smoke")
    experiment = build(config)
    assert experiment.latent_model.exact is not None
    assert experiment.latent_model.levels == (3, 2)
    assert experiment.latent_model.concavity is not None
    x_D = jax.numpy.ones(config.model.data_dim)
    assert experiment.latent_model.exact.posterior(experiment.theta, x_D)[0].shape == (5,)
    changed(config, "model.singular_values", (3.0, 2.0))
    refused(lambda: build(config), "must be 3 numbers (the first of model.prior.levels), 0 or more")
    changed(config, "model.prior.name", "mixture")
    refused(lambda: build(config), "unknown; there are standard_normal, hierarchy")
