"""The curvature in memory that is linear in K, against dense matrices and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.oracles import EPS
from vaelab import posterior
from vaelab.inference import low_rank

K, M = 40, 60


def matrix(values, seed=0, size=K):
    """I + sum_j values_j v_j v_j' with random orthonormal v_j, float64."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(size, len(values))))[0]
    return np.eye(size) + (directions * values) @ directions.T


def pairs(A, count=M, seed=1):
    eps = np.random.default_rng(seed).normal(size=(count, len(A)))
    return np.float32(eps), np.float32(eps @ (A - np.eye(len(A))))


def dense(curvature):
    return np.float64(low_rank.times(curvature, jnp.eye(curvature.direction_RxK.shape[1])))


def empty(rank=8):
    return low_rank.nothing(K, rank)


def test_a_curvature_of_a_few_directions_is_learned_from_pairs_exactly():
    A = matrix([12.0, 3.0, 1.0, -0.7, 0.4])
    learned = jax.jit(low_rank.learn)(empty(), *pairs(A))
    np.testing.assert_allclose(dense(learned), A, atol=1000 * EPS * 12.0)
    unit = np.float64(learned.direction_RxK @ learned.direction_RxK.T)[-4:, -4:]
    np.testing.assert_allclose(unit, np.eye(4), atol=1e-4)


def test_it_is_kept_when_more_is_learned_and_follows_what_changes():
    first, second = matrix([12.0, 3.0, -0.7]), matrix([5.0, 2.0], seed=9)
    learn = jax.jit(low_rank.learn)
    learned = learn(learn(empty(), *pairs(first)), *pairs(first, 4, seed=2))
    np.testing.assert_allclose(dense(learned), first, atol=1e-3)
    for seed in range(3, 40):
        learned = learn(learned, *pairs(second, seed=seed))
    assert learned.num_pairs == low_rank.MEMORY
    assert np.linalg.norm(dense(learned) - second) < 0.02 * np.linalg.norm(second - np.eye(K))


def test_noise_of_the_pairs_is_averaged_over_them():
    """The squared error falls as one over the number of pairs: of 60 and of 1,920, 32 times; 8 by chance."""
    A, rng = matrix([12.0, 3.0, 1.0]), np.random.default_rng(4)

    def error(count):
        eps, bent = pairs(A, count)
        noisy = np.float32(bent + 0.3 * rng.normal(size=bent.shape))
        return np.sum((dense(low_rank.learn(empty(3), eps, noisy)) - A) ** 2)

    assert error(32 * M) < error(M) / 8.0


def test_what_is_learned_is_the_symmetric_least_squares_of_all_pairs():
    """With the directions known, C is that of a regression in its 6 numbers, float64, old pairs weighted."""
    known = low_rank.learn(empty(3), *pairs(matrix([12.0, 3.0, 1.0])))
    eps, bent = pairs(matrix([9.0, 4.0, 2.0], seed=0))
    bent = np.float32(bent + 2.0 * (eps @ np.float64(known.direction_RxK).T) @ NOISE @ known.direction_RxK)
    learned = low_rank.learn(known, eps, bent)
    V = np.float64(learned.direction_RxK)
    old = np.sqrt(M) * np.float64(known.direction_RxK)
    before = np.concatenate([old, eps]) @ V.T
    after = np.concatenate([np.float64(known.value_R)[:, None] * old, bent]) @ V.T
    rows, cols = np.tril_indices(3)
    units = np.zeros((6, 3, 3))
    units[np.arange(6), rows, cols] = units[np.arange(6), cols, rows] = 1.0
    design = np.stack([(before @ unit).ravel() for unit in units], axis=1)
    number, *_ = np.linalg.lstsq(design, after.ravel(), rcond=None)
    np.testing.assert_allclose(np.diag(learned.value_R), np.tensordot(number, units, 1), atol=1e-3)


NOISE = np.array([[0.0, 1.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])


def test_products_inverse_and_diagonal_are_those_of_the_dense_matrix():
    learned = low_rank.learn(empty(), *pairs(matrix([12.0, 3.0, -0.7])))
    full, u = dense(learned), np.random.default_rng(3).normal(size=K)
    np.testing.assert_allclose(low_rank.solve(learned, np.float32(u)), np.linalg.solve(full, u), atol=1e-4)
    np.testing.assert_allclose(low_rank.diagonal_of(learned), np.diag(full), atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pairs_that_are_not_finite_teach_nothing(bad):
    learned = low_rank.learn(empty(), *pairs(matrix([3.0])))
    eps, bent = pairs(matrix([3.0]))
    bent[3, 2] = bad
    again = low_rank.learn(learned, eps, bent)
    jax.tree.map(np.testing.assert_array_equal, again, learned)


def test_it_stays_positive_definite():
    eps, bent = pairs(matrix([4.0, -3.0, -0.99]))
    values = np.linalg.eigvalsh(dense(low_rank.learn(empty(), eps, bent)))
    assert values[0] == pytest.approx(low_rank.LEAST, abs=1e-3)
    assert values[-1] == pytest.approx(5.0, abs=1e-2)


def test_nothing_bent_is_the_identity():
    eps, bent = pairs(matrix([1.0]))
    learned = low_rank.learn(empty(), eps, 0.0 * bent)
    np.testing.assert_allclose(dense(learned), np.eye(K), atol=1e-6)


LARGE = 300
FAMILY = posterior.diagonal(LARGE)


def gaussian(values=(12.0, 6.0, 3.0, 2.0), seed=0):
    """(precision, log-density) of a Gaussian posterior about 0, whose diagonal is not even."""
    root = np.exp(0.5 * np.random.default_rng(seed).normal(size=LARGE))
    precision = matrix(values, seed, LARGE) * root[:, None] * root[None, :]
    return precision, lambda z_K: -0.5 * z_K @ (jnp.float32(precision) @ z_K)


def lost(precision, phi_P):
    """L[q*] - L[q] in nats, by the closed form, of a diagonal q and a Gaussian posterior about 0."""
    mean, variance = np.float64(phi_P[:LARGE]), np.exp(2.0 * np.float64(phi_P[LARGE:]))
    part = variance * np.diag(precision)
    return 0.5 * (mean @ precision @ mean + np.sum(part - 1.0 - np.log(part)))


def test_a_sketch_is_the_curvature_in_units_of_q():
    precision, log_joint = gaussian()
    phi_P = np.concatenate([np.ones(LARGE), -0.5 * np.log(np.diag(precision))]).astype(np.float32)
    learned, sd = jax.jit(lambda key: low_rank.sketch(log_joint, FAMILY, phi_P, key))(jax.random.key(0))
    expected = precision * np.outer(sd, sd)
    # The diagonal of the low rank part is not the same in all dimensions: what is left off it is 8% here.
    off = np.linalg.norm(dense(learned) - expected) / np.linalg.norm(expected - np.eye(LARGE))
    assert off < 0.15, off
