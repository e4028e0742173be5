"""Families of q(z): closed forms against float64 linear algebra, draws, SciPy and distrax."""

from functools import partial

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests.support import oracles
from tests.support.oracles import EPS
from vaelab import posterior

K = 4
CONDITIONS = (1.0, 3.0, 10.0, 30.0, 100.0)
FAMILIES = {
    "diagonal": posterior.diagonal,
    "full": posterior.full,
    "cholesky": posterior.cholesky,
    "low_rank": partial(posterior.low_rank, rank=oracles.RANK),
    "householder": partial(posterior.householder, num_reflections=oracles.REFLECTIONS),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param](K)


def cases(family, conditions=CONDITIONS, repeats=3, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([oracles.random_phi(family.name, rng, K, c) for c in conditions for _ in range(repeats)])


def over(function):
    return jax.jit(jax.vmap(function))


def full_phi(mean, scale):
    return np.concatenate([mean, np.reshape(scale, -1)]).astype(np.float32)


def test_sizes(family):
    sizes = {
        "diagonal": 2 * K,
        "full": K + K * K,
        "cholesky": 2 * K + K * (K - 1) // 2,
        "low_rank": 2 * K + 2 * K,
        "householder": 2 * K + 3 * K,
    }
    assert family.param_size == sizes[family.name]
    assert family.init().shape == (family.param_size,)


def test_a_step_shorter_than_the_longest_leaves_a_dense_scale_invertible():
    """The worst direction takes S to S (I - v v'), which is singular, at just that length."""
    family, rng = posterior.full(K), np.random.default_rng(0)
    scale, v = rng.normal(size=(K, K)), rng.normal(size=K)
    v /= np.linalg.norm(v)
    phi_P = full_phi(np.zeros(K), scale)
    # S' dL/dS = -2 v v' has the natural gradient -S v v'.
    grad_P = full_phi(np.zeros(K), np.linalg.solve(scale.T, -2.0 * np.outer(v, v)))
    step_P = np.float64(family.gaussian.natural_gradient(phi_P, grad_P))
    length = np.sqrt(grad_P @ step_P)
    np.testing.assert_allclose(length, family.gaussian.longest_step, rtol=1e-4)

    def det(part):
        moved = (phi_P + part * family.gaussian.longest_step / length * step_P)[K:].reshape(K, K)
        return np.linalg.det(moved) / np.linalg.det(scale)

    for part in (0.5, 0.9, 1.0, 1.1):
        np.testing.assert_allclose(det(part), 1.0 - part, atol=1e-4)


def test_kl_equals_float64_algebra(family):
    phi_NxP = cases(family)
    exact_N = [oracles.kl_to_prior(*oracles.mean_and_scale(family.name, phi)) for phi in phi_NxP]
    dense_N = []
    for mean, scale in (oracles.mean_and_scale(family.name, phi) for phi in phi_NxP):
        dense_N.append(oracles.gaussian_kl(mean, scale @ scale.T, np.zeros(K), np.eye(K)))
    np.testing.assert_allclose(exact_N, dense_N, rtol=1e-9)
    # float32 at condition numbers up to 100: K * eps * condition = 5e-5, divided by a KL above 5 there.
    np.testing.assert_allclose(over(family.kl_to_prior)(phi_NxP), exact_N, rtol=1e-5)


@pytest.mark.long
def test_kl_error_grows_no_faster_than_the_condition_number(family):
    for condition in (1e3, 1e4, 1e5, 1e6):
        phi_NxP = cases(family, (condition,), repeats=20)
        exact_N = [oracles.kl_to_prior(*oracles.mean_and_scale(family.name, phi)) for phi in phi_NxP]
        np.testing.assert_allclose(
            over(family.kl_to_prior)(phi_NxP), exact_N, rtol=4 * EPS, atol=K * EPS * condition
        )


@pytest.mark.long
def test_prior_is_exact(family):
    phi_P = family.init()
    kl, grad_P = jax.jit(jax.value_and_grad(family.kl_to_prior))(phi_P)
    mean_K, scale_KxK = family.gaussian.location_scale(phi_P)
    np.testing.assert_array_equal(mean_K, 0.0)
    # The low-rank prior has 0.8^2 (1 + 0.75^2) = 1 in `rank` dimensions, where the others have 1 itself.
    rounding = 4 * EPS if family.name == "low_rank" else 0.0
    np.testing.assert_allclose(scale_KxK @ scale_KxK.T, np.eye(K), atol=rounding)
    assert abs(kl) <= rounding
    np.testing.assert_allclose(grad_P, 0.0, atol=rounding)


@pytest.mark.long
def test_at_the_prior_every_parameter_but_a_saddle_has_a_gradient(family):
    """A V of zero would never leave it. Reflections are one: they do nothing while every sigma is 1."""
    precision_KxK = np.linalg.inv(oracles.random_scale(np.random.default_rng(8), K, 10.0)).astype(np.float32)

    def bound(phi_P):
        mean_K, scale_KxK = family.gaussian.location_scale(phi_P)
        shifted_K = precision_KxK @ (mean_K - 1.0)
        return -0.5 * (jnp.sum((precision_KxK @ scale_KxK) ** 2) + jnp.sum(shifted_K**2))

    grad_P = jax.grad(bound)(family.init())
    free = 2 * K if family.name == "householder" else family.param_size
    assert np.abs(grad_P[:free]).min() > 1e-3


def test_diagonal_kl_keeps_its_digits_near_the_prior():
    rng = np.random.default_rng(0)
    for size in (1e-1, 1e-2, 1e-3, 1e-4):
        phi_P = (size * rng.normal(size=20)).astype(np.float32)
        exact = oracles.kl_to_prior(*oracles.mean_and_scale("diagonal", phi_P))
        # Terms of size `size` leave a KL of size^2: their rounding is what is lost, and no more.
        assert abs(posterior.diagonal(10).kl_to_prior(phi_P) - exact) <= 4 * EPS * np.sum(np.abs(phi_P[10:]))


def test_full_kl_near_the_prior_does_not_lose_digits_with_K():
    rng, size = np.random.default_rng(0), 50
    family = posterior.full(size)
    kl = jax.jit(family.kl_to_prior)
    errors = []
    for scale in np.repeat([1e-2, 1e-3, 1e-4], 5):
        phi_P = np.concatenate(
            [np.zeros(size), (np.eye(size) + scale * rng.normal(size=(size, size))).ravel()]
        )
        phi_P = phi_P.astype(np.float32)
        errors.append(float(kl(phi_P)) - oracles.kl_to_prior(*oracles.mean_and_scale("full", phi_P)))
    # K squares near 1 and K logarithms near 0, each rounded on its own: sqrt(K) roundings, 5 times that.
    assert np.max(np.abs(errors)) <= 5 * np.sqrt(size) * EPS / 2


def test_full_kl_gradient_is_S_minus_inverse_transpose():
    family = posterior.full(K)
    phi_NxP = cases(family)
    for phi_P, grad_P in zip(phi_NxP, over(jax.grad(family.kl_to_prior))(phi_NxP), strict=True):
        mean, scale = oracles.mean_and_scale("full", phi_P)
        exact = full_phi(mean, scale - np.linalg.inv(scale).T)
        bound = 4 * K * EPS * np.linalg.cond(scale) * np.abs(exact).max()  # of a float32 inverse
        np.testing.assert_allclose(grad_P, exact, atol=bound)
        # The step is far below the least singular value, 0.1.
        differences = oracles.gradient(
            lambda p: oracles.kl_to_prior(*oracles.mean_and_scale("full", p)), phi_P
        )
        np.testing.assert_allclose(grad_P, differences, atol=bound + 1e-6)


def test_diagonal_kl_gradient():
    family = posterior.diagonal(K)
    phi_NxP = cases(family)
    exact_NxP = np.concatenate([phi_NxP[:, :K], np.expm1(2.0 * phi_NxP[:, K:].astype(np.float64))], axis=1)
    np.testing.assert_allclose(over(jax.grad(family.kl_to_prior))(phi_NxP), exact_NxP, rtol=1e-5, atol=EPS)


def test_full_kl_equals_that_of_distrax():
    family = posterior.full(K)

    def of_distrax(phi_P):
        prior = distrax.MultivariateNormalDiag(jnp.zeros(K), jnp.ones(K))
        return family.dist(phi_P).kl_divergence(prior)

    phi_NxP = cases(family)
    np.testing.assert_allclose(over(family.kl_to_prior)(phi_NxP), over(of_distrax)(phi_NxP), rtol=1e-5)


def draw(family, phi_P, eps_SxK):
    """(z_SxK, log q(z)_S) by the family."""
    z_SxK = jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_SxK)
    return z_SxK, jax.vmap(family.dist(phi_P).log_prob)(z_SxK)


@pytest.mark.long
def test_kl_and_moments_equal_those_of_draws(family):
    phi_NxP = cases(family, (1.0, 3.0, 10.0, 30.0), repeats=1)
    eps_SxK = jax.random.normal(jax.random.key(0), (20_000, K))
    z_NxSxK, log_q_NxS = jax.jit(jax.vmap(lambda phi_P: draw(family, phi_P, eps_SxK)))(phi_NxP)
    for phi_P, z_SxK, log_q_S in zip(phi_NxP, np.asarray(z_NxSxK, np.float64), log_q_NxS, strict=True):
        log_prior_S = -0.5 * np.sum(z_SxK**2 + oracles.LOG_2PI, axis=1)
        oracles.assert_mean(log_q_S - log_prior_S, family.kl_to_prior(phi_P))
        q = family.dist(phi_P)
        oracles.assert_mean(z_SxK, q.mean())
        covariance = np.diag(q.variance()) if family.name == "diagonal" else np.asarray(q.covariance())
        centred_SxK = z_SxK - np.asarray(q.mean())
        products_SxKxK = centred_SxK[:, :, None] * centred_SxK[:, None, :]
        oracles.assert_mean(products_SxKxK, covariance, rounding=1e-6)
        mean, scale = oracles.mean_and_scale(family.name, phi_P)
        np.testing.assert_allclose(q.mean(), mean, rtol=EPS)
        np.testing.assert_allclose(covariance, scale @ scale.T, rtol=1e-5, atol=1e-5)


def test_draws_of_dist_itself_have_its_covariance(family):
    phi_P = cases(family, (10.0,), repeats=1)[0]
    keys = jax.random.split(jax.random.key(1), 20_000)
    z_SxK = np.asarray(jax.jit(jax.vmap(lambda key: family.dist(phi_P).sample(seed=key)))(keys), np.float64)
    mean, scale = oracles.mean_and_scale(family.name, phi_P)
    oracles.assert_mean(z_SxK, mean)
    centred_SxK = z_SxK - mean
    oracles.assert_mean(centred_SxK[:, :, None] * centred_SxK[:, None, :], scale @ scale.T, rounding=1e-6)


def points(family, phi_NxP, seed=2):
    """One z for each member, about as far out as its draws."""
    rng = np.random.default_rng(seed)
    moments = [oracles.mean_and_scale(family.name, phi_P) for phi_P in phi_NxP]
    return np.stack([m + S @ rng.normal(size=K) for m, S in moments]).astype(np.float32)


@pytest.mark.long
def test_a_sample_brings_its_density_and_their_derivatives(family):
    def by_dist(phi_P, eps_K):
        z_K = family.reparameterize(phi_P, eps_K)
        return z_K, family.dist(phi_P).log_prob(z_K)

    phi_NxP = cases(family, (1.0, 3.0, 10.0))
    eps_NxK = np.random.default_rng(6).normal(size=(len(phi_NxP), K)).astype(np.float32)
    mine, expected = (over(f)(phi_NxP, eps_NxK) for f in (family.sample_and_log_prob, by_dist))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), mine, expected)
    mine, expected = (
        over(jax.jacobian(lambda phi_P, eps_K, f=f: f(phi_P, eps_K)[1]))(phi_NxP, eps_NxK)
        for f in (family.sample_and_log_prob, by_dist)
    )
    np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=2e-3)


def test_the_density_of_a_draw_keeps_its_digits_at_any_condition():
    for make in (posterior.full, posterior.cholesky):
        family = make(K)
        phi_NxP, eps_K = cases(family, (1e4, 1e6)), np.ones(K, np.float32)
        log_q_N = over(family.sample_and_log_prob)(phi_NxP, np.tile(eps_K, (len(phi_NxP), 1)))[1]
        scales = [oracles.mean_and_scale(family.name, phi_P)[1] for phi_P in phi_NxP]
        exact_N = [-0.5 * K * (1.0 + oracles.LOG_2PI) - np.linalg.slogdet(S)[1] for S in scales]
        np.testing.assert_allclose(log_q_N, exact_N, atol=0.02)


def test_log_prob_equals_that_of_scipy(family):
    phi_NxP = cases(family)
    z_NxK = points(family, phi_NxP)
    log_q_N = over(lambda phi_P, z_K: family.dist(phi_P).log_prob(z_K))(phi_NxP, z_NxK)
    for phi_P, z_K, log_q in zip(phi_NxP, z_NxK, log_q_N, strict=True):
        mean, scale = oracles.mean_and_scale(family.name, phi_P)
        exact = scipy.stats.multivariate_normal(mean, scale @ scale.T).logpdf(np.float64(z_K))
        # z - mean is rounded to eps |z|, and the solve multiplies that by at most the condition number.
        assert abs(log_q - exact) <= 4 * K * EPS * np.linalg.cond(scale) * (1.0 + abs(exact))


@pytest.mark.long
def test_density_and_entropy_errors_grow_no_faster_than_the_condition_number(family):
    for condition in (1e3, 1e4, 1e5, 1e6):
        phi_NxP = cases(family, (condition,), repeats=20)
        z_NxK = points(family, phi_NxP)
        log_q_N = over(lambda phi_P, z_K: family.dist(phi_P).log_prob(z_K))(phi_NxP, z_NxK)
        entropy_N = over(lambda phi_P: family.dist(phi_P).entropy())(phi_NxP)
        for phi_P, z_K, log_q, entropy in zip(phi_NxP, z_NxK, log_q_N, entropy_N, strict=True):
            mean, scale = oracles.mean_and_scale(family.name, phi_P)
            # The square of S^-1 (z - mean), whose relative error is that of the inverse: once in first order,
            # once in second where the condition number leaves it no digits.
            eps = np.linalg.solve(scale, np.float64(z_K) - mean)
            log_det, relative = oracles.log_abs_det(scale), 4 * K * EPS * np.linalg.cond(scale)
            exact = -0.5 * (eps @ eps + K * oracles.LOG_2PI) - log_det
            assert abs(log_q - exact) <= relative * (1.0 + relative) * (1.0 + eps @ eps)
            assert abs(entropy - (0.5 * K * (1.0 + oracles.LOG_2PI) + log_det)) <= relative + 8 * EPS * K


@pytest.mark.long
def test_dist_inside_jit_vmap_and_grad_equals_dist_outside(family):
    phi_NxP = cases(family, (3.0, 30.0), repeats=2)
    z_NxK = points(family, phi_NxP)

    def log_q(phi_P, z_K):
        return family.dist(phi_P).log_prob(z_K)

    outside_N = [
        log_q(jnp.asarray(phi_P), jnp.asarray(z_K)) for phi_P, z_K in zip(phi_NxP, z_NxK, strict=True)
    ]
    np.testing.assert_allclose(over(log_q)(phi_NxP, z_NxK), outside_N, rtol=30 * K * EPS)
    score_NxP, slope_NxK = over(jax.grad(log_q, (0, 1)))(phi_NxP, z_NxK)
    for phi_P, z_K, score_P, slope_K in zip(phi_NxP, z_NxK, score_NxP, slope_NxK, strict=True):
        mean, scale = oracles.mean_and_scale(family.name, phi_P)
        inverse = np.linalg.inv(scale)
        eps = inverse @ (z_K - mean)
        z_K = np.float64(z_K)

        def log_density(phi, z_K=z_K):
            exact_mean, exact_scale = oracles.mean_and_scale(family.name, phi)
            return oracles.log_normal(z_K, exact_mean, exact_scale @ exact_scale.T)

        score = oracles.gradient(log_density, phi_P)
        bound = 8 * K * EPS * np.linalg.cond(scale) * np.abs(score).max()  # of two float32 solves
        np.testing.assert_allclose(score_P, score, atol=bound + 1e-6)
        np.testing.assert_allclose(slope_K, -inverse.T @ eps, atol=bound)


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 7, 8, 9, 17, 50])
def test_full_at_every_size_of_its_blocks(size):
    family, rng, condition = posterior.full(size), np.random.default_rng(size), 10.0
    phi_NxP = np.stack([oracles.random_phi("full", rng, size, condition) for _ in range(3)])
    z_NxK = np.float32(rng.normal(size=(3, size)))
    kl_N, kl_grad_NxP = over(jax.value_and_grad(family.kl_to_prior))(phi_NxP)
    score = jax.value_and_grad(lambda phi_P, z_K: family.dist(phi_P).log_prob(z_K), (0, 1))
    log_q_N, (score_NxP, slope_NxK) = over(score)(phi_NxP, z_NxK)
    for i, (mean, scale) in enumerate(oracles.mean_and_scale("full", phi_P) for phi_P in phi_NxP):
        inverse = np.linalg.inv(scale)
        eps = inverse @ (z_NxK[i] - mean)
        log_q = oracles.log_normal(np.float64(z_NxK[i]), mean, scale @ scale.T)
        slope = -inverse.T @ eps
        score = np.concatenate([-slope, (inverse.T @ (np.outer(eps, eps) - np.eye(size))).reshape(-1)])
        kl_grad = np.concatenate([mean, (scale - inverse.T).reshape(-1)])
        # The rounding of a float32 inverse, and twice that of the products of two.
        bound = 2 * size * EPS * condition
        np.testing.assert_allclose(kl_N[i], oracles.kl_to_prior(mean, scale), rtol=bound)
        np.testing.assert_allclose(kl_grad_NxP[i], kl_grad, atol=bound * np.abs(kl_grad).max())
        np.testing.assert_allclose(log_q_N[i], log_q, rtol=2 * bound)
        np.testing.assert_allclose(slope_NxK[i], slope, atol=2 * bound * np.abs(slope).max())
        np.testing.assert_allclose(score_NxP[i], score, atol=2 * bound * np.abs(score).max())


def test_full_has_a_free_sign_of_the_determinant():
    family = posterior.full(K)
    phi_NxP = cases(family)
    mirrored_NxP = phi_NxP.copy()
    mirrored_NxP[:, K + K - 1 :: K] *= -1.0  # S diag(1, ..., 1, -1)
    scales = [oracles.mean_and_scale("full", phi_P)[1] for phi_P in phi_NxP]
    signs = {np.sign(np.linalg.det(scale)) for scale in scales}
    assert signs == {-1.0, 1.0}
    assert np.linalg.det(oracles.mean_and_scale("full", mirrored_NxP[0])[1]) * np.linalg.det(scales[0]) < 0
    np.testing.assert_allclose(
        over(family.kl_to_prior)(mirrored_NxP), over(family.kl_to_prior)(phi_NxP), rtol=4 * EPS
    )


def test_full_is_the_same_distribution_after_a_rotation_of_S():
    family = posterior.full(K)
    phi_NxP = cases(family, (1.0, 10.0, 30.0))
    rng = np.random.default_rng(3)
    rotated_NxP = []
    for mean, scale in (oracles.mean_and_scale("full", phi_P) for phi_P in phi_NxP):
        rotated_NxP.append(full_phi(mean, scale @ np.linalg.qr(rng.normal(size=(K, K)))[0]))
    rotated_NxP, z_NxK = np.stack(rotated_NxP), points(family, phi_NxP)
    bound = 8 * K * EPS * 30.0  # the rotated S is rounded to float32, at a condition number up to 30

    def describe(phi_P, z_K):
        q = family.dist(phi_P)
        return family.kl_to_prior(phi_P), q.log_prob(z_K), q.covariance()

    describe = over(describe)
    for one, other in zip(describe(phi_NxP, z_NxK), describe(rotated_NxP, z_NxK), strict=True):
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound)
    assert np.abs(rotated_NxP - phi_NxP).max() > 1.0


def test_singular_S_is_not_finite_and_spoils_no_neighbour():
    family, good_P = posterior.full(2), full_phi([0.5, 0.0], [[1.0, 0.5], [0.0, 2.0]])
    singular = [np.zeros((2, 2)), [[1, 2], [2, 4]], [[0, 1], [0, 3]], [[1, 1], [1, 1]], [[0, 0], [2, 1]]]
    phi_NxP = np.stack([*(full_phi([0.0, 0.0], scale) for scale in singular), good_P])
    z_NxK = np.full((len(phi_NxP), 2), 0.3, np.float32)
    kl_N, grad_NxP = over(jax.value_and_grad(family.kl_to_prior))(phi_NxP)
    log_q_N = over(lambda phi_P, z_K: family.dist(phi_P).log_prob(z_K))(phi_NxP, z_NxK)
    np.testing.assert_array_equal(kl_N[:-1], np.inf)
    assert not np.any(np.isfinite(log_q_N[:-1]))
    assert not np.any(np.all(np.isfinite(grad_NxP[:-1]), axis=1))
    exact = scipy.stats.multivariate_normal([0.5, 0.0], [[1.25, 1.0], [1.0, 4.0]]).logpdf([0.3, 0.3])
    np.testing.assert_allclose(log_q_N[-1], exact, rtol=8 * EPS)
    np.testing.assert_allclose(
        kl_N[-1], oracles.kl_to_prior(*oracles.mean_and_scale("full", good_P)), rtol=8 * EPS
    )
    assert np.all(np.isfinite(grad_NxP[-1]))


def test_location_scale_is_that_of_the_distribution(family):
    for phi_P in cases(family, (10.0,)):
        mean_K, scale_KxK = family.gaussian.location_scale(phi_P)
        mean, scale = oracles.mean_and_scale(family.name, phi_P)
        np.testing.assert_array_equal(mean_K, mean)
        covariance = scale @ scale.T
        bound = 8 * K * EPS * np.abs(covariance).max()
        np.testing.assert_allclose(scale_KxK @ scale_KxK.T, covariance, atol=bound)
        drawn_KxK = jax.jacobian(lambda eps_K, p=phi_P: family.reparameterize(p, eps_K))(jnp.zeros(K))
        np.testing.assert_allclose(drawn_KxK, scale_KxK, atol=bound)


def test_entropy_is_that_of_the_distribution(family):
    """K/2 (1 + log 2 pi) + log|det S|."""
    for phi_P in cases(family):
        log_abs_det = oracles.log_abs_det(oracles.mean_and_scale(family.name, phi_P)[1])
        exact = 0.5 * K * (1.0 + oracles.LOG_2PI) + log_abs_det
        np.testing.assert_allclose(family.dist(phi_P).entropy(), exact, rtol=1e-5)


@pytest.mark.parametrize("name", ["diagonal", "full", "cholesky"])
def test_project_returns_a_member_to_itself(name):
    family = FAMILIES[name](K)
    for phi_P in cases(family):
        projected_P = family.gaussian.project(*family.gaussian.location_scale(phi_P))
        rounding = 8 * EPS * (K if name == "cholesky" else 1)
        np.testing.assert_allclose(projected_P, phi_P, rtol=rounding, atol=rounding)


def test_project_to_cholesky_is_the_distribution_itself():
    family, rng = posterior.cholesky(K), np.random.default_rng(5)
    for condition in (1.0, 10.0, 100.0):
        scale = oracles.random_scale(rng, K, condition).astype(np.float32)
        _, lower_KxK = family.gaussian.location_scale(family.gaussian.project(np.zeros(K, np.float32), scale))
        np.testing.assert_allclose(lower_KxK @ lower_KxK.T, scale @ scale.T, atol=8 * K * EPS * condition)
        assert np.all(np.diag(lower_KxK) > 0)


def test_project_to_diagonal_minimises_the_kl_to_the_given_distribution():
    family, rng = posterior.diagonal(K), np.random.default_rng(4)
    for condition in (1.0, 10.0, 100.0):
        mean = rng.normal(size=K).astype(np.float32)
        scale = oracles.random_scale(rng, K, condition).astype(np.float32)
        phi_P = np.asarray(family.gaussian.project(mean, scale))
        target = np.float64(mean), np.float64(scale) @ np.float64(scale).T

        def kl(phi, target=target):
            q_mean, q_scale = oracles.mean_and_scale("diagonal", phi)
            return oracles.gaussian_kl(q_mean, q_scale @ q_scale.T, *target)

        bound = K * EPS * condition  # of a float32 inverse
        precision = np.linalg.inv(target[1])
        np.testing.assert_array_equal(phi_P[:K], mean)
        np.testing.assert_allclose(np.exp(-2.0 * phi_P[K:]), np.diag(precision), rtol=4 * bound)
        np.testing.assert_allclose(oracles.gradient(kl, phi_P)[K:], 0.0, atol=4 * bound + 1e-6)
        for direction in rng.normal(size=(50, 2 * K)):
            assert kl(phi_P + 0.1 * direction) > kl(phi_P)


@pytest.mark.parametrize("name", ["diagonal", "full", "cholesky"])
def test_natural_gradient_is_a_symmetric_generalised_inverse_of_the_fisher_information(name):
    family = FAMILIES[name](K)
    identity_PxP = jnp.eye(family.param_size)
    rank = family.param_size - (K * (K - 1) // 2 if family.name == "full" else 0)
    natural = jax.jit(jax.vmap(family.gaussian.natural_gradient, (None, 0)))
    for phi_P in cases(family, (1.0, 3.0, 10.0), repeats=1):
        F = oracles.fisher_information(family.name, phi_P)
        G = np.asarray(natural(phi_P, identity_PxP), np.float64).T
        f, h = np.linalg.norm(F, 2), np.linalg.norm(G, 2)
        rounding = 1e-5 * f * h  # the differences of F are good to 1e-6, the float32 products of G to 1e-7
        np.testing.assert_allclose(G, G.T, atol=8 * EPS * h)
        np.testing.assert_allclose(F @ G @ F, F, atol=rounding * f)
        np.testing.assert_allclose(G @ F @ G, G, atol=rounding * h)
        assert np.linalg.matrix_rank(G, tol=1e-4 * h) == rank
        # The gradient of a function of q lies in the range of F: there it is the pseudo-inverse.
        g = np.asarray(jax.grad(family.kl_to_prior)(phi_P), np.float64)
        np.testing.assert_allclose(F @ G @ g, g, atol=rounding * np.linalg.norm(g))
        np.testing.assert_allclose(g @ G @ g, g @ np.linalg.pinv(F, rcond=1e-4) @ g, rtol=rounding)
