"""The prior of a config: each by its name, what it starts from, and what cannot be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import digits_gap
from tests.support.configs import changed, learned_in, refused
from vaelab import data
from vaelab.config import defaults
from vaelab.config import prior as reading
from vaelab.config.experiment import build
from vaelab.config.section import Section
from vaelab.model import PRIORS, decoder_model, networks
from vaelab.model.likelihood import bernoulli
from vaelab.model.prior import standard_normal_log_prior

K, D = 2, 3
LEVELS_NxD = np.uint8(np.arange(36).reshape(12, D) % 4)


def made(max_value=3, pixels_NxD=LEVELS_NxD):
    count = len(pixels_NxD)
    split = data.Split(pixels_NxD, np.zeros(count, np.int32), np.arange(count, dtype=np.int32))
    return data.DataSet("made", (D,), max_value, {"train": split})


def top(**changes):
    config = defaults.get_config()
    config.data.observation = "rescale"
    config.encoder.hidden = (4,)
    config.model.prior.num_components = 5
    for name, value in changes.items():
        changed(config, name.replace("__", "."), value)
    return Section(config)


def read(described=None, latent_dim=K, **changes):
    return reading.read_prior(top(**changes), latent_dim, described or made(), lambda network: network)


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_is_read_by_its_name_with_its_sizes(name):
    prior = read(
        model__prior__name=name,
        model__prior__hidden=7,
        model__prior__num_layers=1,
        model__prior__levels=(1, 1),
        model__latent_dim=K,
    )
    if name == "standard_normal":
        assert prior is None
        return
    params = jax.eval_shape(prior.init, jax.random.key(0))
    assert prior.name == name
    assert jax.eval_shape(prior.log_prob, params, jnp.zeros(K)).shape == ()
    sizes = {leaf.shape for leaf in jax.tree.leaves(params)}
    if "num_components" in PRIORS[name].sizes:
        assert any(shape[0] == 5 for shape in sizes)
    if "hidden" in PRIORS[name].sizes:
        assert (7,) in sizes


def test_a_flow_prior_is_the_one_that_is_named():
    sizes = {
        flow: read(model__prior__name="flow", model__prior__flow=flow).init(None)["phi_P"].size
        for flow in ("real_nvp", "iaf")
    }
    families = {flow: reading.FLOWS[flow].make(K, num_layers=4, hidden=64) for flow in sizes}
    assert sizes == {flow: family.param_size for flow, family in families.items()}


def pseudo_inputs(described=None, **changes):
    prior = read(described, model__prior__name="vamp", **changes)
    return np.asarray(prior.init(jax.random.key(0))["pseudo_inputs_MxD"])


def test_pseudo_inputs_are_training_examples_as_they_are_observed():
    x_NxD = LEVELS_NxD / 3.0
    u_MxD = pseudo_inputs()
    assert u_MxD.shape == (5, D)
    assert all(np.isclose(x_NxD, u_D, atol=1e-6).all(axis=1).any() for u_D in u_MxD)
    noise_MxD = pseudo_inputs(model__prior__pseudo_inputs="noise")
    assert not any(np.isclose(x_NxD, u_D, atol=1e-6).all(axis=1).any() for u_D in noise_MxD)
    assert np.all((noise_MxD >= 0.0) & (noise_MxD <= 1.0))


def test_pseudo_inputs_of_real_numbers_keep_to_what_the_training_data_span():
    x_NxD = np.float32(np.random.default_rng(0).normal(size=(5, D)) * [1.0, 10.0, 0.1])
    changes = {"data__observation": "identity", "model__prior__pseudo_inputs": "noise"}
    u_MxD = pseudo_inputs(made(data.REAL, x_NxD), **changes)
    assert np.all((u_MxD >= x_NxD.min(axis=0)) & (u_MxD <= x_NxD.max(axis=0)))


def test_a_model_that_is_loaded_has_its_shapes_without_the_data():
    described = data.Description((D,), 3)
    assert pseudo_inputs(described).shape == (5, D)


def test_the_model_of_a_config_has_the_prior_beside_the_decoder():
    config = digits_gap.get_config("smoke")
    standard = build(config)
    assert standard.latent_model.log_prior is standard_normal_log_prior
    changed(config, "model.prior.name", "mixture")
    learned = build(changed(config, "model.prior.num_components", 3))
    assert learned.latent_model.prior == "mixture"
    jax.tree.map(np.testing.assert_array_equal, learned.theta["likelihood"], standard.theta)
    assert learned.theta["prior"]["mean_MxK"].shape == (3, 10)
    assert learned.stages[0].system.weighs_kl is False


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"name": "vamp", "num_components": 13},
            "num_components=13: are more pseudo-inputs than the 12 training",
        ),
        ({"name": "flow", "latent_dim": 1}, "name='flow': needs model.latent_dim of 2 or more"),
        ({"name": "vampp"}, "did you mean 'vamp'?"),
        ({"num_components": 0}, "num_components=0: must be an integer of 1 or more"),
        ({"pseudo_inputs": "test"}, "unknown; there are data, noise"),
        ({"flow": "diagonal"}, "unknown; there are real_nvp, iaf"),
        ({"flow": "bottom_up"}, "unknown; there are real_nvp, iaf"),
    ],
)
def test_a_prior_that_cannot_be_is_one_line(changes, says):
    latent_dim = changes.pop("latent_dim", K)
    changes = {f"model__prior__{name}": value for name, value in changes.items()}
    refused(lambda: read(latent_dim=latent_dim, **changes), says)


def test_a_vamp_prior_is_of_gaussian_q_of_an_encoder():
    flow = {"model__prior__name": "vamp", "posterior__family": "iaf"}
    refused(
        lambda: read(**flow),
        "is a mixture of Gaussian q, and posterior.family=iaf is a flow; take one of "
        "cholesky, diagonal, full",
    )
    config = learned_in("mean_field", **{"model.prior.name": "vamp", "model.prior.num_components": 5})
    refused(lambda: build(config), "is made of an encoder, and learning.regime=mean_field has none")


def test_an_objective_with_the_kl_in_closed_form_needs_a_prior_that_has_one():
    config = digits_gap.get_config("smoke")
    for name, value in {"model.prior.name": "mixture", "objective.name": "free_bits"}.items():
        changed(config, name, value)
    refused(lambda: build(config), "takes the KL to the prior in closed form, and to mixture there is none")
    changed(config, "model.prior.num_components", 3)
    changed(config, "objective.name", "beta_elbo")
    assert build(config).stages[0].system.weighs_kl is True


def test_simulated_data_need_a_prior_that_can_be_sampled():
    decoder = networks.mlp_decoder(K, (), D, activation=jnp.tanh)
    model = decoder_model(K, decoder, bernoulli())
    section = Section(defaults.evaluate(), "config.evaluate")
    reading.check_simulated(section, ("test", "simulated"), model)
    mute = model._replace(sample_prior=None, prior="mine")
    reading.check_simulated(section, ("test",), mute)
    refused(
        lambda: reading.check_simulated(section, ("simulated",), mute),
        "has simulated data, and the prior mine has no sample; give it one",
    )


def test_training_takes_the_faster_density_and_measuring_the_one_with_all_digits():
    config = digits_gap.get_config("smoke")
    standard = build(config).stages[0]
    assert standard.recipe({}).model.log_prior is standard.system.model.log_prior
    changed(changed(config, "model.prior.name", "mixture"), "model.prior.num_components", 3)
    experiment = build(config)
    for stage in experiment.stages:
        assert stage.system.model.log_prior is experiment.latent_model.log_prior
        assert stage.recipe({}).model.log_prior is experiment.latent_model.fast_log_prior
