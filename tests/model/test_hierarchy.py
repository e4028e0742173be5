"""A prior of levels: its factors, what each reads, its start; of what all priors have see `test_priors`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import oracles
from vaelab.model import hierarchy, standard_normal_log_prob

LEVELS, K = (3, 2, 1), 6
PRIOR = hierarchy(K, levels=LEVELS, hidden=5)
AT = [slice(0, 3), slice(3, 5), slice(5, 6)]


def moved(prior=PRIOR, size=0.5):
    params = prior.init(jax.random.key(0))
    leaves, treedef = jax.tree.flatten(params)
    random = np.random.default_rng(1)
    return treedef.unflatten([leaf + np.float32(size * random.normal(size=leaf.shape)) for leaf in leaves])


def factor(params, above, z):
    """log N(z; m, diag(s^2)) of a level in float64, from the formula."""
    p = {name: np.float64(leaf) for name, leaf in params.items()}
    hidden = np.tanh(above @ p["in_JxH"] + p["bias_H"])
    more, raw = np.split(hidden @ p["out_Hx2K"], 2)
    sd = np.exp(p["log_scale_K"] + 3.0 * np.tanh(raw / 3.0))
    mean = above @ p["weight_JxK"] + p["bias_K"] + more
    return oracles.log_normal(z, mean, np.diag(sd**2))


def test_its_parts_are_the_densities_of_the_levels_given_the_one_above():
    params, z_K = moved(), np.random.default_rng(2).normal(size=K)
    below = [factor(params[f"level_{l + 1}"], z_K[AT[l + 1]], z_K[AT[l]]) for l in range(2)]
    exact = [*below, oracles.log_normal(z_K[AT[2]], np.zeros(1), np.eye(1))]
    got_L = jax.jit(PRIOR.log_prob_of_levels)(params, np.float32(z_K))
    np.testing.assert_allclose(got_L, exact, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(PRIOR.log_prob)(params, np.float32(z_K)), np.sum(exact), rtol=1e-5)


def test_a_sample_is_drawn_from_the_top_down():
    """Given the levels above, what is left of each is standard noise, independent of them."""
    params = moved(size=0.3)
    keys = jax.random.split(jax.random.key(3), 4000)
    z_SxK = jax.jit(jax.vmap(PRIOR.sample, (None, 0)))(params, keys)

    def noise(z_K):
        out = [z_K[AT[2]]]
        for l in (1, 0):
            p = params[f"level_{l + 1}"]
            above = z_K[AT[l + 1]]
            more, raw = jnp.split(jnp.tanh(above @ p["in_JxH"] + p["bias_H"]) @ p["out_Hx2K"], 2)
            mean = above @ p["weight_JxK"] + p["bias_K"] + more
            out.insert(0, (z_K[AT[l]] - mean) * jnp.exp(-p["log_scale_K"] - 3.0 * jnp.tanh(raw / 3.0)))
        return jnp.concatenate(out)

    eps_SxK = np.float64(jax.jit(jax.vmap(noise))(z_SxK))
    oracles.assert_mean(eps_SxK, 0.0)
    oracles.assert_mean(eps_SxK[:, :, None] * eps_SxK[:, None, :], np.eye(K))
    oracles.assert_mean(eps_SxK[:, :5] * np.float64(z_SxK)[:, 5:] ** 2, 0.0)


def test_at_the_start_no_level_is_without_use_and_the_hidden_layer_does_nothing():
    params = PRIOR.init(jax.random.key(0))
    for l, (size, above) in enumerate(((3, 2), (2, 1))):
        of_level = params[f"level_{l + 1}"]
        np.testing.assert_allclose(np.linalg.norm(of_level["weight_JxK"], axis=0), 0.5, rtol=1e-5)
        np.testing.assert_allclose(np.exp(2.0 * of_level["log_scale_K"]), 0.75, rtol=1e-5)
        assert of_level["weight_JxK"].shape == (above, size)
        assert not of_level["out_Hx2K"].any()
        assert of_level["in_JxH"].any()


def test_one_level_is_standard_and_linear_levels_alone_are_concave():
    one = hierarchy(2, levels=(2,), hidden=3)
    z_K = np.float32([0.4, -1.3])
    assert one.init(jax.random.key(0)) == {}
    np.testing.assert_allclose(one.log_prob({}, z_K), standard_normal_log_prob(z_K), rtol=1e-6)
    linear = hierarchy(K, levels=LEVELS, hidden=0)
    params = moved(linear)
    hessian = -jax.jit(jax.hessian(linear.log_prob, argnums=1))(params, jnp.ones(K))
    np.testing.assert_allclose(linear.concavity(params), hessian, rtol=1e-4, atol=1e-4)
    assert PRIOR.concavity is None


@pytest.mark.parametrize("levels", [(3, 2), (3, 3, 0), ()])
def test_levels_that_are_not_the_dimensions_of_z_are_refused(levels):
    with pytest.raises(ValueError, match="latent_dim=6"):
        hierarchy(K, levels=levels, hidden=2)
