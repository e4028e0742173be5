"""Certificates of convergence: the proved bound against exact excesses, the progress against exact gains."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support import oracles
from tests.support.oracles import LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.inference import certificate
from vaelab.inference.loop import evaluations, infer
from vaelab.inference.solver import natural_gradient, stochastic_gradient
from vaelab.model import likelihood, networks
from vaelab.objective.elbo import elbo_from_draws, stick_the_landing
from vaelab.posterior.project import has_projection

K, D = 3, 6
BOUNDED = {"diagonal": posterior.diagonal(K), "full": posterior.full(K), "cholesky": posterior.cholesky(K)}
FAMILIES = {
    **BOUNDED,
    "low_rank": posterior.low_rank(K, rank=oracles.RANK),
    "householder": posterior.householder(K, num_reflections=oracles.REFLECTIONS),
    "iaf": posterior.iaf(K, num_layers=1, hidden=4),
}
MODEL = models.linear_gaussian(K, (1.0,) * K, 1.0, D)
SPECTRA = {4: (2.0, 1.0, 0.5), 100: (10.0, 1.0, 0.1), 10_000: (100.0, 1.0, 0.1)}
MEMBERS = 400


@pytest.fixture(params=BOUNDED)
def family(request):
    return BOUNDED[request.param]


def bound_of(family, gradient, concavity_KxK):
    """phi_NxP -> the certificate of exact gradients: three equal groups of them."""

    def one(phi_P):
        return certificate.bound_excess(family, phi_P, jnp.tile(gradient(phi_P), (3, 1)), concavity_KxK).value

    return jax.jit(jax.vmap(one))


@pytest.mark.long
@pytest.mark.parametrize("condition", SPECTRA)
def test_the_bound_is_never_below_the_true_excess(family, condition):
    """Over members from the optimum to far off; and within a factor of two close to it."""
    exact = LinearGaussian.random(np.random.default_rng(1), D, SPECTRA[condition], 1.0)
    theta, rng = models.LinearGaussianParams(*exact.theta), np.random.default_rng(2)
    x_D = exact.sample(rng, 1)[0]
    mean, scale = oracles.mean_and_scale("full", exact.optimum("full", x_D))
    optimum_P = np.asarray(family.gaussian.project(jnp.float32(mean), jnp.float32(scale)))

    def elbo(phi_P):
        return models.linear_gaussian_elbo(theta, x_D, *family.gaussian.location_scale(phi_P))

    bound = bound_of(family, jax.grad(elbo), MODEL.concavity(theta, x_D))
    size_N = np.geomspace(1e-2, 3.0, MEMBERS)
    best_mean, best_scale = oracles.mean_and_scale(family.name, optimum_P)
    members = []
    for size in size_N:
        moved = best_mean + size * scale @ rng.normal(size=K)
        if family.name == "diagonal":
            members.append(np.concatenate([moved, optimum_P[K:] + size * rng.normal(size=K)]))
        else:
            turned = best_scale @ (np.eye(K) + size * rng.normal(size=(K, K)))
            members.append(family.gaussian.project(jnp.float32(moved), jnp.float32(turned)))
    phi_NxP = np.float32(members)
    best = exact.elbo(x_D, *oracles.mean_and_scale(family.name, optimum_P))
    excess_N = best - np.array(
        [exact.elbo(x_D, *oracles.mean_and_scale(family.name, phi_P)) for phi_P in phi_NxP]
    )
    bound_N = np.float64(bound(phi_NxP))
    rounding = 1e-6 * condition
    assert np.all(bound_N >= 0.999 * excess_N - rounding)
    near = size_N < 0.1
    assert np.all(bound_N[near] <= 2.5 * excess_N[near] + rounding)


@pytest.mark.long
def test_the_bound_holds_between_any_two_members_under_an_affine_bernoulli_decoder(family):
    """L[b] - L[a] <= bound(a) for every pair, by quadrature."""
    K = 2
    family = getattr(posterior, family.name)(K)
    decoder = networks.mlp_decoder(K, (), D, activation=jnp.tanh)
    model = models.decoder_model(K, decoder, likelihood.bernoulli(), affine=True)
    rng = np.random.default_rng(3)
    theta = jax.tree.map(lambda a: jnp.float32(3.0 * rng.normal(size=a.shape)), model.init(jax.random.key(0)))
    log_joint = models.bind(model, theta, jnp.float32(rng.integers(0, 2, D)))
    eps_SxK, weight_S = oracles.standard_normal_grid(K, 61)

    def elbo(phi_P):
        def term(eps_K):
            z_K = family.reparameterize(phi_P, eps_K)
            return log_joint(z_K) - models.standard_normal_log_prob(z_K)

        return jnp.float32(weight_S) @ jax.vmap(term)(eps_SxK) - family.kl_to_prior(phi_P)

    phi_NxP = np.stack([oracles.random_phi(family.name, rng, K, c) for c in np.geomspace(1.0, 100.0, 80)])
    # Towards the optimum, so that some are near it.
    path, transform = [phi_NxP], natural_gradient(family, max_norm=1.0)
    ascend = jax.jit(jax.vmap(lambda p: p + 0.2 * transform.update(jax.grad(elbo)(p), None, p)[0]))
    for _ in range(4):
        for _ in range(20):
            phi_NxP = ascend(phi_NxP)
        path.append(phi_NxP)
    phi_NxP = np.concatenate(path)
    bound_N = np.float64(bound_of(family, jax.grad(elbo), model.concavity(theta, None))(phi_NxP))
    elbo_N = np.float64(jax.jit(jax.vmap(elbo))(phi_NxP))
    assert np.all(np.isfinite(elbo_N))
    assert np.all(elbo_N[None, :] - elbo_N[:, None] <= bound_N[:, None] + 1e-3)
    assert bound_N.min() < 0.05


def test_only_what_is_concave_claims_to_be():
    affine = networks.mlp_decoder(K, (), D, activation=jnp.tanh)
    assert models.decoder_model(K, affine, likelihood.bernoulli()).concavity is None
    levels = networks.mlp_decoder(K, (), 2 * D, activation=jnp.tanh)
    logistic = likelihood.discretized_logistic(levels=256)
    assert models.decoder_model(K, levels, logistic, affine=True).concavity is None
    wide = networks.mlp_decoder(K, (), 2 * D, activation=jnp.tanh)
    assert (
        models.decoder_model(K, wide, likelihood.gaussian(min_variance=1e-3), affine=True).concavity is None
    )
    assert models.decoder_model(K, affine, likelihood.bernoulli(), affine=True).concavity is not None


def test_each_fit_says_what_certifies_it():
    kinds = {name: certificate.kind(family, log_concave=False) for name, family in FAMILIES.items()}
    assert kinds == dict.fromkeys(BOUNDED, "estimate") | dict.fromkeys(
        set(FAMILIES) - set(BOUNDED), "progress"
    )
    kinds = {name: certificate.kind(family, log_concave=True) for name, family in FAMILIES.items()}
    assert kinds == dict.fromkeys(BOUNDED, "bound") | dict.fromkeys(set(FAMILIES) - set(BOUNDED), "progress")


def loop(family, num_steps, rate):
    transform = optax.chain(natural_gradient(family, max_norm=5.0), optax.scale_by_learning_rate(rate))
    objective = partial(stick_the_landing, num_samples=10, antithetic=True)
    return stochastic_gradient(family, objective, transform, num_samples=10)


def fit(family, exact, x_D, phi_P, *, num_steps, rate, concavity_KxK=None):
    theta = models.LinearGaussianParams(*exact.theta)
    return infer(
        loop(family, num_steps, rate),
        models.bind(MODEL, theta, x_D),
        family,
        jnp.float32(phi_P),
        jax.random.key(0),
        num_steps=num_steps,
        certificate_groups=32,
        tolerance=0.05,
        concavity_KxK=concavity_KxK,
    )


@pytest.mark.long
def test_a_fit_of_a_concave_model_is_called_converged_by_its_bound(family):
    exact = LinearGaussian.random(np.random.default_rng(1), D, SPECTRA[4], 1.0)
    x_D = exact.sample(np.random.default_rng(4), 1)[0]
    concavity_KxK = jnp.float32(exact.precision())
    truth = exact.elbo(x_D, *oracles.mean_and_scale("full", exact.optimum("full", x_D)))
    if family.name == "diagonal":
        truth = exact.elbo(x_D, *oracles.mean_and_scale("diagonal", exact.optimum("diagonal", x_D)))
    for num_steps, converges in ((1, False), (100, True)):
        outcome = fit(
            family, exact, x_D, family.init(), num_steps=num_steps, rate=0.1, concavity_KxK=concavity_KxK
        )
        excess = truth - exact.elbo(x_D, *oracles.mean_and_scale(family.name, outcome.phi_P))
        assert outcome.excess.value + 5.0 * outcome.excess.stderr >= excess - 1e-5
        assert outcome.converged == converges
    solver = loop(family, 100, 0.1)
    settings = {"num_steps": 100, "certificate_groups": 32, "log_concave": True}
    assert evaluations(solver, family, **settings) == 1320


@pytest.mark.long
@pytest.mark.parametrize("name", ["low_rank"])
def test_progress_is_what_the_second_half_of_the_round_gained(name):
    family, exact = FAMILIES[name], LinearGaussian.random(np.random.default_rng(1), D, SPECTRA[4], 1.0)
    x_D = exact.sample(np.random.default_rng(4), 1)[0]
    start_P = np.asarray(family.init())
    half, outcome = (fit(family, exact, x_D, start_P, num_steps=steps, rate=0.2) for steps in (3, 6))
    mean, scale = oracles.mean_and_scale(name, outcome.phi_P)
    gained = exact.elbo(x_D, mean, scale) - exact.elbo(x_D, *oracles.mean_and_scale(name, half.phi_P))
    left = exact.elbo(x_D, exact.posterior(x_D)[0], scale) - exact.elbo(x_D, mean, scale)
    assert gained > 0.06
    assert abs(outcome.excess.value - gained - left) <= 5.0 * outcome.excess.stderr + 1e-4
    assert not outcome.converged
    assert fit(family, exact, x_D, outcome.phi_P, num_steps=200, rate=0.1).converged
    # A round that lost more than the tolerance has not converged either: down the gradient from afar.
    worse = fit(family, exact, x_D, start_P, num_steps=2, rate=-0.1)
    assert worse.excess.value > 0.05
    assert not worse.converged
    solver = loop(family, 10, 0.2)
    assert evaluations(solver, family, num_steps=10, certificate_groups=32) == 100 + 32 * 210 + 152


# One of each kind of certificate, and what is peculiar to each kind of scale.
SLOW = {**FAMILIES, "real_nvp": posterior.real_nvp(K, num_layers=2, hidden=4)}


@pytest.mark.long
@pytest.mark.parametrize("name", ["diagonal", "full", "low_rank", "real_nvp"])
def test_a_slow_valley_is_not_the_optimum(name):
    """Steps so short that a round gains nothing, with a nat to go along the flattest direction."""
    family, exact = SLOW[name], LinearGaussian.random(np.random.default_rng(1), D, SPECTRA[10_000], 1.0)
    x_D, tolerance = exact.sample(np.random.default_rng(4), 1)[0], 0.05
    mean, covariance = exact.posterior(x_D)
    value_K, vector_KxK = np.linalg.eigh(covariance)
    start_P = np.array(family.init())
    if has_projection(family):
        start_P = np.array(
            family.gaussian.project(jnp.float32(mean), jnp.float32(np.linalg.cholesky(covariance)))
        )
    else:
        start_P[:K], start_P[K : 2 * K] = mean, 0.5 * np.log(np.diag(covariance))
    start_P[:K] += np.sqrt(2.0 * value_K[-1]) * vector_KxK[:, -1]
    objective = partial(elbo_from_draws, num_samples=10, antithetic=True)
    solver = stochastic_gradient(family, objective, optax.sgd(1e-9), num_samples=10)
    outcome = infer(
        solver,
        models.bind(MODEL, models.LinearGaussianParams(*exact.theta), x_D),
        family,
        jnp.float32(start_P),
        jax.random.key(0),
        num_steps=5,
        certificate_groups=32,
        tolerance=tolerance,
    )
    assert np.abs(outcome.phi_P - start_P).max() < 1e-3
    assert outcome.excess.value > 1.0 - 5.0 * outcome.excess.stderr - 0.02
    if name in BOUNDED:  # the scale of the others is off too
        assert outcome.excess.value < 1.0 + 5.0 * outcome.excess.stderr + 0.02
    assert not outcome.converged


@pytest.mark.long
@pytest.mark.parametrize("name", ["diagonal", "low_rank", "real_nvp"])
def test_a_flat_objective_under_its_noise_is_not_called_converged(name):
    """A likelihood that is only noise: a verdict under it is as rare as two standard errors make it."""
    family = SLOW[name]
    bound = partial(stick_the_landing, num_samples=10)
    solver = stochastic_gradient(family, bound, optax.sgd(1e-9), num_samples=10)
    settings = {"num_steps": 1, "certificate_groups": 8, "tolerance": 1e-3}

    def verdict(size, key):
        def log_joint(z_K):
            return models.standard_normal_log_prob(z_K) + size * jnp.sum(jnp.sin(40.0 * z_K))

        return infer(solver, log_joint, family, family.init(), key, **settings).converged

    run, keys = jax.jit(jax.vmap(verdict, (None, 0))), jax.random.split(jax.random.key(0), 200)
    verdicts = {size: run(size, keys) for size in (1e-4, 1.0)}
    assert verdicts[1.0].mean() <= 0.05
    assert verdicts[1e-4].all()


@pytest.mark.long
def test_the_error_of_progress_is_that_of_its_draws():
    """Over many keys: of a gain that is all noise around its truth, with nothing to gain by a shift."""
    family = FAMILIES["low_rank"]
    before_P, after_P = family.init(), family.init().at[K].add(0.3)

    def log_joint(z_K):
        return models.standard_normal_log_prob(z_K)

    def one(key):
        return certificate.progress(
            log_joint, family, before_P, after_P, key, num_groups=32, num_samples=10, num_gradients=10
        )

    outcome = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 1000))
    # KL(N(0, e^0.6) || N(0, 1)): what is lost from the optimum; its size is reported.
    truth = 0.5 * (np.exp(0.6) - 1.0) - 0.3
    gain = np.float64(outcome.value)
    oracles.assert_mean(gain, truth, rounding=0.01)
    ratio = np.mean(np.float64(outcome.stderr) ** 2) / np.var(gain)
    assert 0.7 < ratio < 3.0


def test_the_shift_of_progress_is_worth_what_it_gains():
    """A low-rank q that is the posterior but for a nat in its mean, in a round that moved nothing."""
    family = posterior.low_rank(K, rank=1)
    root = np.array([0.5, 1.0, 0.7])
    phi_P = jnp.float32(np.concatenate([np.zeros(K), np.log(root), np.zeros(K)]))
    shift = np.sqrt(2.0) * root * np.array([1.0, 0.0, 0.0])

    def log_joint(z_K):
        return -0.5 * jnp.sum(((z_K - jnp.float32(shift)) / jnp.float32(root)) ** 2)

    outcome = jax.jit(
        lambda key: certificate.progress(
            log_joint, family, phi_P, phi_P, key, num_groups=32, num_samples=10, num_gradients=10
        )
    )(jax.random.key(0))
    assert abs(outcome.value - 1.0) <= 5.0 * outcome.stderr + 0.01
