"""What holds for every member of FAMILIES, whatever it is made of."""

import inspect

import distrax
import jax
import numpy as np
import pytest

from tests.support import oracles
from vaelab.model import hierarchy, standard_normal_log_prob
from vaelab.posterior import FAMILIES
from vaelab.posterior.project import has_projection, searched_as

K, NUM_SAMPLES = 3, 5000
SMALL = {"rank": 2, "num_reflections": 2, "flow.num_layers": 2, "flow.hidden": 4}


def make(name, latent_dim=K, **changes):
    """The family at small sizes; a size that is not in SMALL is 2."""
    sizes = {size.split(".")[-1]: SMALL.get(size, 2) for size in FAMILIES[name].sizes}
    if FAMILIES[name].of_levels:
        sizes["levels"] = (latent_dim - 1, 1)
    if FAMILIES[name].of_prior:
        prior = hierarchy(latent_dim, levels=sizes["levels"], hidden=2)
        sizes["prior"] = jax.eval_shape(prior.init, jax.random.key(0))
    return FAMILIES[name].make(latent_dim, **sizes | changes)


def member(family, size=0.3, seed=0):
    return family.init() + np.float32(size * np.random.default_rng(seed).normal(size=family.param_size))


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


def test_its_name_is_that_of_its_entry_and_its_init_a_vector_of_its_size(name):
    family = make(name)
    assert (family.name, family.latent_dim) == (name, K)
    assert family.init().shape == (family.param_size,)
    assert 0 <= family.shared_size < family.param_size


@pytest.mark.long
def test_samples_have_the_density_that_is_said_and_that_of_its_distribution(name):
    family = make(name)
    phi_P, eps_SxK = member(family), jax.random.normal(jax.random.key(0), (20, K))
    z_SxK, log_q_S = jax.jit(jax.vmap(family.sample_and_log_prob, (None, 0)))(phi_P, eps_SxK)
    moved_SxK = jax.jit(jax.vmap(family.reparameterize, (None, 0)))(phi_P, eps_SxK)
    np.testing.assert_allclose(z_SxK, moved_SxK, rtol=1e-5, atol=1e-6)
    distribution = family.dist(phi_P)
    assert isinstance(distribution, distrax.Distribution)
    np.testing.assert_allclose(log_q_S, jax.jit(jax.vmap(distribution.log_prob))(z_SxK), rtol=1e-4, atol=1e-4)


def test_its_init_is_the_prior(name):
    family = make(name)
    if family.shared_of is not None:
        pytest.skip("N(0, I) is the limit of messages that say nothing")
    eps_SxK = jax.random.normal(jax.random.key(1), (20, K))
    z_SxK, log_q_S = jax.jit(jax.vmap(family.sample_and_log_prob, (None, 0)))(family.init(), eps_SxK)
    np.testing.assert_allclose(log_q_S, jax.vmap(standard_normal_log_prob)(z_SxK), rtol=1e-5)


def test_its_kl_is_that_of_its_samples(name):
    family = make(name)
    if family.kl_to_prior is None:
        pytest.skip("no closed form")
    phi_P, eps_SxK = member(family), jax.random.normal(jax.random.key(2), (NUM_SAMPLES, K))
    z_SxK, log_q_S = jax.jit(jax.vmap(family.sample_and_log_prob, (None, 0)))(phi_P, eps_SxK)
    terms_S = np.float64(log_q_S) - np.float64(jax.vmap(standard_normal_log_prob)(z_SxK))
    oracles.assert_mean(terms_S, np.float64(jax.jit(family.kl_to_prior)(phi_P)))


def test_every_size_is_a_keyword_that_changes_it(name):
    keywords = inspect.signature(FAMILIES[name].make).parameters.values()
    taken = [keyword.name for keyword in keywords if keyword.kind is keyword.KEYWORD_ONLY]
    of_model = ["levels"] * FAMILIES[name].of_levels + ["prior"] * FAMILIES[name].of_prior
    assert taken == [size.split(".")[-1] for size in FAMILIES[name].sizes] + of_model
    for size in set(taken) - set(of_model):
        assert make(name, **{size: 1}).param_size < make(name, **{size: 3}).param_size


def test_sizes_that_cannot_be_are_refused(name):
    entry = FAMILIES[name]
    for size in entry.sizes:
        with pytest.raises(ValueError, match="latent_dim"):
            make(name, **{size.split(".")[-1]: 0})
        if entry.sizes_up_to_latent_dim:
            with pytest.raises(ValueError, match="latent_dim"):
                make(name, **{size.split(".")[-1]: K + 1})
    if entry.of_levels:
        with pytest.raises(ValueError, match="latent_dim"):
            make(name, levels=(K, 1))
    if entry.min_latent_dim > 1:
        with pytest.raises(ValueError, match="latent_dim"):
            make(name, latent_dim=entry.min_latent_dim - 1)


def test_its_loop_suits_it(name):
    family, entry = make(name), FAMILIES[name]
    assert entry.loop in ("diagonal", "gaussian", "flow")
    assert (entry.loop == "flow") == (family.gaussian is None)
    assert bool(entry.richness) == (family.gaussian is not None)
    if family.gaussian is not None:
        assert searched_as(family).gaussian.natural_gradient is not None
        phi_P = member(family)
        np.testing.assert_array_equal(family.gaussian.location_scale(phi_P)[0], phi_P[:K])


@pytest.mark.long
def test_its_outputs_are_told_where_they_grow_faster_than_the_latent_dimension(name):
    count = FAMILIES[name].outputs
    families = {size: make(name, latent_dim=size) for size in (20, 40)}
    sizes = {size: family.param_size - family.shared_size for size, family in families.items()}
    if count is None:
        assert sizes[40] <= 2 * sizes[20]
    else:
        # One number for each dimension more or less decides nothing.
        assert all(abs(count(size) - numbers) <= size for size, numbers in sizes.items())


def test_the_richer_the_nearer_to_a_gaussian_posterior():
    root_KxK = oracles.random_scale(np.random.default_rng(0), K, 30.0)
    covariance, mean_K = root_KxK @ root_KxK.T, np.ones(K)
    kls = []
    for name in sorted(FAMILIES, key=lambda name: FAMILIES[name].richness):
        family = make(name)
        if has_projection(family):
            phi_P = family.gaussian.project(np.float32(mean_K), np.float32(root_KxK))
            mu_K, scale_KxK = map(np.float64, family.gaussian.location_scale(phi_P))
            kls.append(oracles.gaussian_kl(mu_K, scale_KxK @ scale_KxK.T, mean_K, covariance))
    assert len(kls) >= 3
    assert np.all(np.diff(kls) <= 1e-3)
    assert kls[0] > 0.1 > 1e-3 > kls[-1]
    richness = [entry.richness for entry in FAMILIES.values() if entry.richness]
    assert len(set(richness)) == len(richness)
