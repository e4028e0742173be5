"""NumPyro models as an audit's arguments: densities and guides against closed forms, and what is refused."""

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import vaelab
from tests.support.numpyro_models import (
    DECENTERED,
    PRIOR,
    RNG,
    A,
    B,
    C,
    D,
    N,
    W,
    X,
    body,
    of_batch,
    of_one,
    shared_scale,
)
from vaelab import from_numpyro

numpyro = pytest.importorskip("numpyro")
dist, handlers = pytest.importorskip("numpyro.distributions"), pytest.importorskip("numpyro.handlers")
reparam = pytest.importorskip("numpyro.infer.reparam")


@pytest.fixture(autouse=True)
def promoting():
    """NumPyro promotes ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


def subsampled(x):
    with numpyro.plate("data", 1000, subsample_size=len(x)):
        body((len(x),), x)


def two_arguments(offset, x, sign):
    with numpyro.plate("data", len(x)):
        body((len(x),), sign * x - offset)


def by_keyword(*, x, offset, sign):
    two_arguments(offset, x, sign)


TRANSFORMED = {**DECENTERED, "s": reparam.TransformReparam()}
OFFSET = np.float32(RNG.normal(size=(N, 1)))
MODELS = {
    "of one": (of_one, {}, False),
    "of one, decentered": (handlers.reparam(of_one, config=DECENTERED), {}, True),
    "of a batch": (of_batch, {}, False),
    "of a batch, decentered": (handlers.reparam(of_batch, config=DECENTERED), {}, True),
    "transformed": (handlers.reparam(of_batch, config=TRANSFORMED), {}, "s_base"),
    "subsampled": (subsampled, {}, False),
    "subsampled, decentered": (handlers.reparam(subsampled, config=DECENTERED), {}, True),
    "two arguments": (two_arguments, {"x": (OFFSET, X + OFFSET), "args": (1.0,)}, False),
    "by keyword": (by_keyword, {"x": {"offset": OFFSET, "x": -X - OFFSET}, "kwargs": {"sign": -1.0}}, False),
}


def log_joint_of(x_D, u_K, decentered):
    """log p(x, u) in float64; u in the order of the sites' names."""
    a, b, log_s = u_K[:2], u_K[2], u_K[3]
    if decentered:
        log_b, b = stats.norm(0, 1).logpdf(b), a[0] - a[1] + 0.5 * b
    else:
        log_b = stats.norm(a[0] - a[1], 0.5).logpdf(b)
    prior = stats.norm.logpdf(a).sum() + log_b
    if decentered == "s_base":
        # s is exp(s_base), s_base ~ N(0, 0.4).
        prior += stats.norm(0, 0.4).logpdf(log_s)
    else:
        prior += stats.lognorm(0.4).logpdf(np.exp(log_s)) + log_s
    return prior + stats.norm(A @ a + B * b + C * log_s, 0.6).logpdf(x_D).sum()


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.slow
def test_log_joint_is_that_of_one_datapoint_in_unconstrained_coordinates(case):
    model, given, decentered = MODELS[case]
    arguments = from_numpyro(model, **({"x": X} | given))
    assert arguments["latent_dim"] == 4
    assert arguments["log_likelihood"] is None
    u_NxK = np.random.default_rng(2).normal(size=(N, 4))
    log_joint = jax.jit(jax.vmap(arguments["log_joint"], in_axes=(None, 0, 0)))
    ours = log_joint(arguments["params"], arguments["x"], jnp.float32(u_NxK))
    wanted = [log_joint_of(x_D, u_K, decentered) for x_D, u_K in zip(np.float64(X), u_NxK, strict=True)]
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-3)


def exact():
    """log p(x), and the best diagonal bound in u of the decentered model, whose posterior is Gaussian."""
    x, covariance = np.float64(X), 0.36 * np.eye(D) + W @ PRIOR @ W.T
    log_evidence = stats.multivariate_normal(np.zeros(D), covariance).logpdf(x)
    precision = np.linalg.inv(PRIOR) + W.T @ W / 0.36
    gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    return log_evidence, log_evidence - gap


@pytest.mark.slow
def test_an_audit_of_a_reparametrised_model_and_guide_has_the_numbers_of_closed_forms():
    def guide(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("a", dist.Normal(0.1 * x[:, :2], 0.7).to_event(1))
            numpyro.sample("b_decentered", dist.Normal(0.1 * x[:, 2], 0.9))
            numpyro.sample("s", dist.LogNormal(0.1 * x[:, 3], 0.3))

    model = handlers.reparam(of_batch, config=DECENTERED)
    report = vaelab.audit(
        **from_numpyro(model, guide, x=X), key=jax.random.key(0), families=("diagonal",), quiet=True,
        evidence="importance", settings={"evaluate.elbo_samples": 1000},
    )  # fmt: skip
    measured = {name.removeprefix("given/"): value for name, value in report.per_datapoint.items()}
    log_evidence, best = exact()
    error_N = np.abs(measured["log_evidence"] - log_evidence)
    assert np.all(error_N <= 5.0 * measured["log_evidence_stderr"] + 0.01)
    short_N = best - measured["diagonal/elbo_optimal"]
    assert np.all(np.abs(short_N) <= 5.0 * measured["diagonal/elbo_optimal_stderr"] + 0.02)
    # The encoder's bound: of a Gaussian q and a Gaussian posterior, in closed form.
    mu_NxK, sigma_K = 0.1 * np.float64(X)[:, :4], np.array([0.7, 0.7, 0.9, 0.3])
    precision = np.linalg.inv(PRIOR) + W.T @ W / 0.36
    mean_NxK = np.linalg.solve(precision, W.T @ np.float64(X).T / 0.36).T
    off_NxK = mu_NxK - mean_NxK
    kl_N = 0.5 * np.einsum("nk,kl,nl->n", off_NxK, precision, off_NxK)
    kl_N += 0.5 * (np.diag(precision) @ sigma_K**2 - 4 - 2 * np.log(sigma_K).sum())
    kl_N -= 0.5 * np.linalg.slogdet(precision)[1]
    error_N = np.abs(measured["diagonal/elbo_amortized"] - (log_evidence - kl_N))
    assert np.all(error_N <= 5.0 * measured["diagonal/elbo_amortized_stderr"] + 1e-3)


def test_a_simplex_has_one_coordinate_less_and_its_evidence_is_exact():
    words = np.array([[3.0, 1.0, 2.0], [0.0, 6.0, 0.0]], np.float32)
    alpha = np.array([2.0, 0.7, 1.3])

    def model(x):
        with numpyro.plate("documents", len(x)):
            mix = numpyro.sample("mix", dist.Dirichlet(jnp.float32(alpha)))
            numpyro.sample("words", dist.Multinomial(6, mix), obs=x)

    arguments = from_numpyro(model, x=words)
    assert arguments["latent_dim"] == 2
    u_S = jnp.linspace(-30.0, 30.0, 601)
    grid_SxSxK = jnp.stack(jnp.meshgrid(u_S, u_S, indexing="ij"), axis=-1)
    density = jax.jit(jax.vmap(jax.vmap(arguments["log_joint"], (None, None, 0)), (None, None, 0)))
    for x in words:
        values = np.exp(np.float64(density(arguments["params"], x, grid_SxSxK)))
        total = np.trapezoid(np.trapezoid(values, u_S, axis=1), u_S)
        wanted = stats.dirichlet_multinomial(alpha, 6).logpmf(np.int64(x))
        np.testing.assert_allclose(np.log(total), wanted, atol=1e-3)


def test_what_all_datapoints_share_is_refused_or_conditioned_on():
    x = np.float32(RNG.normal(size=N))
    with pytest.raises(
        vaelab.AuditError, match=r"'noise' outside of the plate 'data' .* params=\{name: value\}"
    ):
        from_numpyro(shared_scale, x=x, params={"weight": 1.0})
    arguments = from_numpyro(shared_scale, x=x, params={"weight": 1.5, "noise": 0.3})
    # log p(x, z given noise): the prior of noise is no part of it.
    wanted = stats.norm(0, 2).logpdf(0.4) + stats.norm(1.5 * 0.4, 0.3).logpdf(x[2])
    np.testing.assert_allclose(
        arguments["log_joint"](arguments["params"], x[2], jnp.array([0.4])), wanted, rtol=1e-5
    )
    gradient = jax.grad(arguments["log_joint"])(arguments["params"], x[2], jnp.array([0.4]))
    assert gradient["noise"] != 0.0


def standard(x, likelihood=lambda mean: dist.Normal(mean, 0.5).to_event(1)):
    with numpyro.plate("data", len(x)):
        a = numpyro.sample("a", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        b = numpyro.sample("b", dist.Normal(0.0, 1.0))
        numpyro.sample("x", likelihood(a @ A.T + b[:, None] * B), obs=x)


def test_a_standard_normal_prior_leaves_log_likelihood_and_sample():
    arguments = from_numpyro(standard, x=X)
    assert "log_joint" not in arguments
    u_K = jnp.array([0.3, -1.0, 0.7])
    mean_D = np.float64(A @ u_K[:2] + B * u_K[2])
    wanted = stats.norm(mean_D, 0.5).logpdf(np.float64(X[1])).sum()
    np.testing.assert_allclose(arguments["log_likelihood"]({}, X[1], u_K), wanted, rtol=1e-5)
    draw = jax.jit(jax.vmap(lambda key: arguments["sample"]({}, key, u_K)))
    x_SxD = np.float64(draw(jax.random.split(jax.random.key(0), 4000)))
    np.testing.assert_allclose(x_SxD.mean(axis=0), mean_D, atol=5 * 0.5 / np.sqrt(4000))
    np.testing.assert_allclose(x_SxD.std(axis=0), 0.5, atol=5 * 0.5 / np.sqrt(2 * 4000))
    checked = vaelab.check(**arguments, key=jax.random.key(0), num_simulated=5)
    assert "normalisation" in {name for name, *_ in checked.checks}


def test_draws_have_the_type_of_x():
    def binary(x):
        standard(x, lambda logits: dist.Bernoulli(logits=logits).to_event(1))

    x = np.float32(X > 0)
    drawn = from_numpyro(binary, x=x)["sample"]({}, jax.random.key(0), jnp.zeros(3))
    assert drawn.dtype == jnp.float32
    assert set(np.unique(drawn)) <= {0.0, 1.0}


def test_a_prior_that_is_another_at_one_datapoint_is_no_standard_one():
    def by_label(label, x):
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(2.0 * label, 1.0))
            numpyro.sample("x", dist.Normal(z, 0.5), obs=x)

    label = np.zeros(40, np.float32)
    label[20] = 1.0
    x = np.float32(RNG.normal(size=40))
    assert from_numpyro(by_label, x=(label, x))["log_likelihood"] is None
    assert (
        from_numpyro(by_label, x=(0.0 * label, x))["sample"] is None
    )  # of x alone, which is two arrays here


def test_x_that_the_model_uses_beside_its_site_is_not_drawn():
    def library(x):
        size = jnp.sum(x, axis=-1)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            rate = size[:, None] * jax.nn.softmax(z[:, None] * B)
            numpyro.sample("x", dist.Poisson(rate).to_event(1), obs=x)

    arguments = from_numpyro(library, x=np.float32(RNG.poisson(4.0, (30, D))))
    assert arguments["sample"] is None
    assert arguments["log_likelihood"] is not None


def test_a_datapoint_may_have_plates_of_its_own():
    """z in a plate of each datapoint, and x of a plate inside: both count as they are."""

    def model(x):
        with numpyro.plate("parts", 3):
            z = numpyro.sample("z", dist.Normal(0.0, 2.0))
            numpyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = np.float32(RNG.normal(size=(N, 3)))
    arguments = from_numpyro(model, x=x)
    assert arguments["latent_dim"] == 3
    u_K = np.array([0.1, -0.4, 1.2])
    wanted = stats.norm(0, 2).logpdf(u_K).sum() + stats.norm(u_K, 1).logpdf(np.float64(x[0])).sum()
    np.testing.assert_allclose(arguments["log_joint"]({}, x[0], jnp.float32(u_K)), wanted, rtol=1e-5)


def test_numpyro_itself_is_what_the_density_is_compared_with(monkeypatch):
    """A density without its Jacobian, and one that counts the plate's factor, are refused."""
    from vaelab.audit import numpyro_model

    right = numpyro_model._log_joint
    for wrong in (
        lambda program, sites, params, x, u_K, **seed: right(program, sites, params, x, u_K) - u_K[3],
        lambda program, sites, params, x, u_K, **seed: 1000.0 * right(program, sites, params, x, u_K),
    ):
        monkeypatch.setattr(numpyro_model, "_log_joint", wrong)
        with pytest.raises(vaelab.AuditError, match="with NumPyro's log_density at the same z"):
            from_numpyro(subsampled, x=X)


def test_the_documentations_example_is_audited_as_it_stands(monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    (code,) = re.findall(r'^```python title="numpyro_audit.py"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    checked = []

    def audit(**arguments):
        checked.append(vaelab.check(**arguments))
        return vaelab.Report([], {})

    monkeypatch.setattr(vaelab, "audit", audit)
    exec(compile(code, "docs/audit.md", "exec"), {"__name__": "__main__"})
    assert [name for name, *_ in checked[0].checks][:2] == ["x", "settings"]


def test_without_numpyro_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpyro", None)
    with pytest.raises(vaelab.AuditError, match="from_numpyro needs NumPyro, which is not installed"):
        from_numpyro(of_batch, x=X)
