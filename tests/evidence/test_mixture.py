"""Importance sampling from all modes of a posterior, against mixtures of known normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab.evidence.importance import LEAST_SHARE, Components, importance_sampling, mixture

K = 4
MEANS = 20.0 * np.eye(K, dtype=np.float32)[:3]
WIDTHS = np.array([0.1, 1.0, 3.0], np.float32)
WEIGHTS = np.array([0.7, 0.2, 0.1], np.float32)


def components(weights=WEIGHTS):
    eye = np.eye(K, dtype=np.float32)
    log_weight_M = np.where(weights > 0, np.log(np.maximum(weights, 1e-30)), -np.inf)
    return Components(
        jnp.asarray(MEANS),
        jnp.asarray(WIDTHS[:, None, None] * eye),
        jnp.asarray(eye / WIDTHS[:, None, None]),
        jnp.asarray(K * np.log(WIDTHS)),
        jnp.asarray(log_weight_M),
    )


def log_joint(z_K):
    """-1.5 is log p(x): a mixture of the same components."""
    square_M = jnp.sum(((z_K[None, :] - MEANS) / WIDTHS[:, None]) ** 2, axis=1)
    log_M = -0.5 * square_M - K * jnp.log(WIDTHS) - 0.5 * K * jnp.log(2.0 * jnp.pi) + jnp.log(WEIGHTS)
    return jax.nn.logsumexp(log_M) - 1.5


def estimate(proposal, seed=0):
    return importance_sampling(log_joint, (proposal,), jax.random.key(seed), num_samples=4000, chunk_size=100)


def test_log_p_of_all_modes_is_within_its_error():
    evidence = jax.vmap(lambda seed: estimate(mixture(components(), degrees_of_freedom=8), seed))(
        jnp.arange(20)
    )
    off = (np.asarray(evidence.log_evidence) + 1.5) / np.asarray(evidence.stderr)
    # 5 standard errors; the draws are stratified over the modes, and off by less than the delta method says.
    assert np.abs(off).max() < 5.0
    assert np.asarray(evidence.stderr).max() < 0.02


def test_a_mode_that_is_left_out_is_missing_and_one_of_a_wrong_weight_is_not():
    without = estimate(mixture(components(WEIGHTS * np.array([0, 1, 1])), degrees_of_freedom=8))
    assert abs(without.log_evidence + 1.5 - np.log(0.3)) < 5.0 * without.stderr + 1e-3
    wrong = estimate(mixture(components(np.float32([0.01, 0.49, 0.5])), degrees_of_freedom=8))
    assert abs(wrong.log_evidence + 1.5) < 5.0 * wrong.stderr


@pytest.mark.parametrize("weights", [WEIGHTS, np.float32([1.0, 0.0, 1e-6])])
def test_each_mode_has_the_draws_of_its_share(weights):
    z_SxK = mixture(components(weights), degrees_of_freedom=8).sample(jax.random.key(1), 1000)
    nearest_S = np.argmin(np.sum((np.asarray(z_SxK)[:, None] - MEANS) ** 2, axis=2) / WIDTHS**2, axis=1)
    some = weights > 0
    share = (1.0 - LEAST_SHARE) * weights / weights.sum() + LEAST_SHARE * some / some.sum()
    # Systematic sampling is off by a draw; a wide distribution's draw may be nearer to another.
    np.testing.assert_allclose(np.bincount(nearest_S, minlength=3) / 1000, share, atol=3e-3)


def test_the_density_of_the_proposal_is_normalised():
    """By draws from a wider distribution of known density, in one dimension of each."""
    proposal = mixture(components(), degrees_of_freedom=8)
    wide = mixture(components()._replace(log_weight_M=jnp.zeros(3)), degrees_of_freedom=3)
    z_SxK = wide.sample(jax.random.key(2), 20_000)
    ratio_S = np.exp(jax.vmap(proposal.log_prob)(z_SxK) - jax.vmap(wide.log_prob)(z_SxK))
    assert abs(ratio_S.mean() - 1.0) < 5.0 * ratio_S.std() / np.sqrt(len(ratio_S))
