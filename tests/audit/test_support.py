"""Latent variables of other supports than R^K: the maps, and audits, against exact answers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

import vaelab
from vaelab.audit.given import given_model
from vaelab.audit.support import on_support, transform_of
from vaelab.model.latent import bind

LINES = {
    "real": "real",
    "positive": "positive",
    "unit_interval": "unit_interval",
    "an interval": (2.0, 5.0),
    "across 0": (-1.0, 2),
    "from below": (1.5, np.inf),
    "from above": (-np.inf, -3.0),
}
SHAPED = {
    "simplex": ("simplex", 3),
    "two simplexes": ({"z": ("simplex", (2, 3))}, 4),
    "parts": ([("positive", 2), ("simplex", 3), ((0, 4), 1)], 5),
    "a dict": ({"b": ("positive", (2, 2)), "a": "unit_interval", "c": {"d": ("simplex", 2)}}, 6),
}
CASES = {**{name: (support, 2) for name, support in LINES.items()}, **SHAPED}
each = pytest.mark.parametrize("case", CASES)


def free(z):
    """The numbers of z in the order of u, without the last of each simplex."""
    if not isinstance(z, dict):
        return z
    return jnp.concatenate([jnp.ravel(free(z[name])) for name in sorted(z)])


@each
def test_the_log_determinant_is_that_of_the_jacobian(case):
    support, K = CASES[case]
    transform = transform_of(support, K)
    u_K = jnp.linspace(-1.5, 1.2, K)

    def numbers(u_K):
        z = transform.forward(u_K)[0]
        if case == "simplex":
            return z[:-1]
        if case == "parts":
            return jnp.delete(z, 4)
        if case == "two simplexes":
            return jnp.ravel(z["z"][:, :-1])
        return free(z | {"c": {"d": z["c"]["d"][:1]}}) if case == "a dict" else z

    _, wanted = np.linalg.slogdet(np.float64(jax.jacfwd(numbers)(u_K)))
    np.testing.assert_allclose(transform.forward(u_K)[1], wanted, rtol=1e-5, atol=1e-5)


@each
def test_round_trips(case):
    support, K = CASES[case]
    transform = transform_of(support, K)
    u_SxK = 2.0 * jax.random.normal(jax.random.key(0), (200, K))
    z, _ = jax.jit(jax.vmap(transform.forward))(u_SxK)
    # A number of z is rounded to 6e-8 of its own size, and that near an end of an interval counts most.
    np.testing.assert_allclose(jax.vmap(transform.inverse)(z), u_SxK, atol=1e-3)


@each
@pytest.mark.parametrize("size", [-1e4, -200.0, -90.0, -20.0, -17.0, 17.0, 20.0, 88.0, 90.0, 200.0, 1e4])
def test_at_the_edges_of_float32_z_is_inside_and_nothing_is_nan(case, size):
    support, K = CASES[case]
    transform = transform_of(support, K)
    u_K = jnp.full(K, size).at[0].set(-size)
    z, log_det = jax.jit(transform.forward)(u_K)
    gradient_K = jax.grad(lambda u_K: transform.forward(u_K)[1])(u_K)
    assert np.isfinite(log_det)
    assert np.isfinite(gradient_K).all()
    assert np.isfinite(transform.inverse(z)).all()
    # Where z rounds to an edge the density of u falls off, and all of it stays 1.
    if case in LINES and case != "real":
        far_K = np.abs(u_K) >= 90.0
        assert np.all((gradient_K * np.sign(u_K))[far_K] < 0.0)
    low, high = {
        "positive": (0, np.inf),
        "unit_interval": (0, 1),
        "an interval": (2, 5),
        "across 0": (-1, 2),
        "from below": (1.5, np.inf),
        "from above": (-np.inf, -3),
        "simplex": (0, 1),
    }.get(case, (-np.inf, np.inf))
    leaves = np.concatenate([np.ravel(a) for a in jax.tree.leaves(z)])
    assert np.all((low < leaves) & (leaves < high))
    if case == "two simplexes":
        np.testing.assert_allclose(np.sum(z["z"], axis=-1), 1.0, atol=1e-6)


DENSITIES = {
    "positive": (stats.gamma(2.3, scale=0.7), lambda z: jax.scipy.stats.gamma.logpdf(z, 2.3, scale=0.7)),
    "unit_interval": (stats.beta(0.6, 2.5), lambda z: jax.scipy.stats.beta.logpdf(z, 0.6, 2.5)),
    "an interval": (stats.uniform(2, 3), lambda z: jnp.where((z >= 2) & (z <= 5), -jnp.log(3.0), -jnp.inf)),
    "from below": (stats.expon(1.5), lambda z: jax.scipy.stats.expon.logpdf(z, 1.5)),
    "from above": (stats.uniform(-4, 1), lambda z: jnp.where((z > -4) & (z < -3), 0.0, -jnp.inf)),
}


def audited(log_joint, support, latent_dim):
    """log p(x, u) of what an audit is given, for one x of no meaning."""
    given = given_model(None, log_joint, None, None, None, None, latent_dim, 0)
    return bind(on_support(given, support).model(), (), jnp.zeros(()))


@pytest.mark.parametrize("case", DENSITIES)
def test_a_density_stays_normalised_and_its_quantiles_stay(case):
    exact, log_density = DENSITIES[case]
    log_joint = audited(lambda x, z_K: jnp.sum(log_density(z_K)), LINES[case], 1)
    u_S = np.linspace(-60.0, 30.0, 200_001)
    density_S = np.exp(np.float64(jax.jit(jax.vmap(log_joint))(jnp.float32(u_S)[:, None])))
    np.testing.assert_allclose(np.trapezoid(density_S, u_S), 1.0, atol=2e-3)
    below = integrate.cumulative_trapezoid(density_S, u_S, initial=0.0)
    z_S = jax.vmap(transform_of(LINES[case], 1).forward)(jnp.float32(u_S)[:, None])[0][:, 0]
    masses_S = 1.0 - below if case == "from above" else below
    np.testing.assert_allclose(masses_S, exact.cdf(np.float64(z_S)), atol=2e-3)


def test_a_dirichlet_stays_normalised():
    alpha = jnp.array([2.0, 0.7, 1.3])
    log_joint = audited(lambda x, z: jax.scipy.stats.dirichlet.logpdf(z, alpha), "simplex", 2)
    u_S = jnp.linspace(-40.0, 40.0, 801)
    grid = jnp.stack(jnp.meshgrid(u_S, u_S, indexing="ij"), axis=-1)
    density = np.exp(np.float64(jax.jit(jax.vmap(jax.vmap(log_joint)))(grid)))
    total = np.trapezoid(np.trapezoid(density, u_S, axis=1), u_S)
    np.testing.assert_allclose(total, 1.0, atol=1e-3)


@pytest.mark.parametrize("u", [-1e4, -100.0, -50.0, -17.5, 17.5, 50.0, 100.0, 1e4])
@pytest.mark.parametrize("case", ["positive", "unit_interval"])
def test_logarithms_of_z_are_finite_where_it_rounds_to_an_edge(case, u):
    def log_joint(x, z_K):
        return jnp.sum(jnp.log(z_K) + 0.0 * jnp.log(z_K) + (jnp.log1p(-z_K) if case != "positive" else 0.0))

    value, gradient_K = jax.value_and_grad(audited(log_joint, case, 1))(jnp.array([u]))
    assert np.isfinite(value)
    assert np.isfinite(gradient_K).all()


def test_the_prior_of_a_log_likelihood_is_of_the_unconstrained_coordinates():
    """z = exp(u), x ~ N(log z, 1/2), u ~ N(0, 1), so p(x) = N(0, 5/4): no Jacobian."""

    def log_likelihood(x, z_K):
        return jnp.sum(jax.scipy.stats.norm.logpdf(x, jnp.log(z_K), 0.5))

    given = given_model(log_likelihood, None, None, None, None, None, 1, 0)
    log_joint = bind(on_support(given, "positive").model(), (), jnp.float32(0.8))
    u_S = np.linspace(-8.0, 8.0, 4001)
    density_S = np.exp(np.float64(jax.vmap(log_joint)(jnp.float32(u_S)[:, None])))
    wanted = stats.norm(0.0, np.sqrt(1.25)).logpdf(0.8)
    np.testing.assert_allclose(np.log(np.trapezoid(density_S, u_S)), wanted, atol=1e-5)


def counts_given_rates(x, z_K):
    return jnp.sum(jax.scipy.stats.poisson.logpmf(x, z_K))


def test_sample_and_decode_are_handed_z_in_its_support():
    def sample(key, z_K):
        return jax.random.poisson(key, z_K).astype(jnp.float32)  # -1 of a rate below 0

    def decode(z_K):
        return jnp.where(jnp.all(z_K > 0.0), 1.0, jnp.nan) * jnp.ones((1, 2))

    x_NxD = np.random.default_rng(0).poisson(1.0, (12, 2)).astype(np.float32)
    checked = vaelab.check(
        counts_given_rates, None, x_NxD, latent_dim=2, key=jax.random.key(0), support="positive",
        sample=sample, decode=decode, num_simulated=4,
    )  # fmt: skip
    assert {"sample", "normalisation", "decode"} <= {name for name, *_ in checked.checks}
    with pytest.raises(vaelab.AuditError, match=r"unnormalised|nan"):
        vaelab.check(
            counts_given_rates, None, x_NxD, latent_dim=2, key=jax.random.key(0), sample=sample, decode=decode
        )


WRONG = {
    "a name": ("positiv", 2, "support='positiv' is none: did you mean 'positive'"),
    "a number": (3.0, 2, "is none: give 'real', 'positive'"),
    "backwards": ((1.0, 0.0), 2, "no numbers of float32"),
    "empty": ((1.0, 1.0), 2, "no numbers of float32"),
    "too large": ((0.0, 1e39), 2, "no numbers of float32"),
    "not a number": ((0.0, np.nan), 2, "no numbers of float32"),
    "simplex": (("simplex", 3), 3, r"latent_dim=3 .* has 2 unconstrained .*a simplex of n numbers has n - 1"),
    "parts": ([("positive", 2), ("real", 1)], 2, "latent_dim=2 .* has 3 unconstrained"),
    "parts without sizes": (["positive", "real"], 2, "is none"),
    "a part of no size": ([("positive", 0)], 2, "is none"),
    "a simplex of one": ({"a": ("simplex", 1)}, 1, "two numbers or more"),
    "a simplex of no size": ({"a": "simplex"}, 1, "needs its size"),
    "an entry": ({"a": "postive"}, 1, r"support\['a'\]='postive' is none: did you mean 'positive'"),
    "no entries": ({}, 1, "is empty"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_support_is_one_line(case):
    support, latent_dim, line = WRONG[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        transform_of(support, latent_dim)
    assert "\n" not in str(raised.value)


def test_a_density_that_is_0_outside_of_a_support_is_refused_with_the_way_out():
    def log_joint(x, z_K):
        return jnp.where(jnp.all(z_K > 5.0), jnp.sum(jax.scipy.stats.norm.logpdf(x, z_K, 1.0)), -jnp.inf)

    given = {"latent_dim": 2, "key": jax.random.key(0), "log_joint": log_joint}
    with pytest.raises(vaelab.AuditError, match=r"log_joint is -inf .* name it by support="):
        vaelab.check(None, None, np.ones((3, 2), np.float32), **given)
    assert vaelab.check(None, None, np.ones((3, 2), np.float32), **given, support=(5.0, np.inf))


def test_an_exception_of_the_users_tells_of_z_and_not_of_u():
    def log_joint(x, z):
        return z.sum(axis=3)

    with pytest.raises(vaelab.AuditError, match=r"log_joint\(float32\[1\], float32\[3\]\).* raised"):
        vaelab.check(
            None, None, np.ones((3, 1), np.float32), latent_dim=2, key=jax.random.key(0), log_joint=log_joint,
            support="simplex",
        )  # fmt: skip


# One model of four independent parts, each with a conjugate prior but the last: log p(x) is a sum of closed
# forms, and the best diagonal q a product of the parts' best, whose bounds are by Gauss-Hermite in float64.
ALPHA, GAMMA, BETA, TRIALS, NOISE = np.array([2.0, 1.0, 1.5]), (2.0, 1.5), (2.0, 3.0), 8, 0.6
SUPPORT = {
    "mix": ("simplex", 3),
    "p": "unit_interval",
    "rate": "positive",
    "w": (2.0, 5.0),
}  # in the order of u


def log_joint(x, z):
    gamma, beta, norm = jax.scipy.stats.gamma, jax.scipy.stats.beta, jax.scipy.stats.norm
    prior = jax.scipy.stats.dirichlet.logpdf(z["mix"], jnp.asarray(ALPHA, jnp.float32))
    prior += gamma.logpdf(z["rate"], GAMMA[0], scale=1 / GAMMA[1]) + beta.logpdf(z["p"], *BETA) - jnp.log(3.0)
    prior += jnp.where((z["w"] > 2.0) & (z["w"] < 5.0), 0.0, -jnp.inf)
    words = jnp.sum(x["words"] * jnp.log(z["mix"])) + jax.scipy.special.gammaln(1 + jnp.sum(x["words"]))
    words -= jnp.sum(jax.scipy.special.gammaln(1 + x["words"]))
    heads = jax.scipy.stats.binom.logpmf(x["heads"], TRIALS, z["p"])
    events = jax.scipy.stats.poisson.logpmf(x["events"], z["rate"])
    return prior + words + heads + events + norm.logpdf(x["y"], z["w"], NOISE)


@functools.cache
def data(N=5):
    rng = np.random.default_rng(3)
    return {
        "words": np.stack([rng.multinomial(6, p) for p in rng.dirichlet(ALPHA, N)]).astype(np.float32),
        "heads": rng.binomial(TRIALS, rng.beta(*BETA, N)).astype(np.float32),
        "events": rng.poisson(rng.gamma(GAMMA[0], 1 / GAMMA[1], N)).astype(np.float32),
        "y": (rng.uniform(2, 5, N) + NOISE * rng.normal(size=N)).astype(np.float32),
    }


def log_evidence(x):
    a, b = GAMMA
    words = np.float64(x["words"])
    return (
        stats.dirichlet_multinomial(ALPHA, int(words.sum())).logpmf(words.astype(int))
        + stats.betabinom(TRIALS, *BETA).logpmf(x["heads"])
        + stats.nbinom(a, b / (1 + b)).logpmf(x["events"])
        + np.log(np.diff(stats.norm(x["y"], NOISE).cdf([2.0, 5.0]))[0] / 3.0)
    )


def best(log_density, dims):
    """max over mu, sigma of E[log p(x, u)] + the entropy of N(mu, sigma^2), u of `dims` coordinates."""
    nodes, weights = special.roots_hermitenorm(60)
    eps = np.stack(np.meshgrid(*[nodes] * dims, indexing="ij"), axis=-1).reshape(-1, dims)
    weight = np.prod(np.stack(np.meshgrid(*[weights] * dims, indexing="ij")), axis=0).ravel()
    weight /= np.sum(weight)

    def loss(phi):
        u = phi[:dims] + np.exp(phi[dims:]) * eps
        return -(weight @ log_density(u) + np.sum(phi[dims:]) + 0.5 * dims * np.log(2 * np.pi * np.e))

    done = optimize.minimize(loss, np.zeros(2 * dims), method="BFGS", options={"gtol": 1e-7})
    return -done.fun


def optimum(x):
    """The best diagonal q of the whole, in float64; densities of u written out."""
    words, (a, b) = np.float64(x["words"]), GAMMA

    def of_words(u):
        log_z = np.concatenate([u, np.zeros((len(u), 1))], axis=1)
        log_z -= special.logsumexp(log_z, axis=1, keepdims=True)
        constant = special.gammaln(ALPHA.sum()) - special.gammaln(ALPHA).sum()
        constant += special.gammaln(1 + words.sum()) - special.gammaln(1 + words).sum()
        return log_z @ (ALPHA + words) + constant  # the Jacobian is prod z

    def of_heads(u):
        first, second = -np.logaddexp(0, -u[:, 0]), -np.logaddexp(0, u[:, 0])
        k, constant = x["heads"], np.log(special.binom(TRIALS, x["heads"])) - special.betaln(*BETA)
        return (BETA[0] + k) * first + (BETA[1] + TRIALS - k) * second + constant

    def of_events(u):
        k = x["events"]
        constant = a * np.log(b) - special.gammaln(a) - special.gammaln(1 + k)
        return (a + k) * u[:, 0] - (1 + b) * np.exp(u[:, 0]) + constant

    def of_y(u):
        first, second = -np.logaddexp(0, -u[:, 0]), -np.logaddexp(0, u[:, 0])
        return stats.norm(2 + 3 * np.exp(first), NOISE).logpdf(x["y"]) + first + second

    parts = ((of_words, 2), (of_heads, 1), (of_events, 1), (of_y, 1))
    return sum(best(log_density, dims) for log_density, dims in parts)


def test_bounds_and_evidence_of_four_supports_are_those_of_closed_forms():
    report = vaelab.audit(
        None, None, data(), latent_dim=5, key=jax.random.key(0), log_joint=log_joint, support=SUPPORT,
        families=("diagonal",), evidence="importance", quiet=True,
    )  # fmt: skip
    rows = [jax.tree.map(lambda a: np.float64(a[n]), data()) for n in range(5)]
    measured = {name.removeprefix("given/"): value for name, value in report.per_datapoint.items()}
    wanted, highest = np.array([log_evidence(x) for x in rows]), np.array([optimum(x) for x in rows])
    assert np.all(highest < wanted)
    error_N = np.abs(measured["log_evidence"] - wanted)
    assert np.all(error_N <= 5.0 * measured["log_evidence_stderr"] + 1e-3), error_N
    short_N = highest - measured["diagonal/elbo_optimal"]
    slack_N = 5.0 * measured["diagonal/elbo_optimal_stderr"] + 1e-3
    # A fit may lack the tolerance.
    assert np.all((-slack_N <= short_N) & (short_N <= slack_N + 0.02)), short_N
    assert measured["diagonal/converged"].all()
    assert report.notes == []
