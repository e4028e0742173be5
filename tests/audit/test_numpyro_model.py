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
from vaelab import from_numpyro

numpyro = pytest.importorskip("numpyro")
dist, handlers = pytest.importorskip("numpyro.distributions"), pytest.importorskip("numpyro.handlers")
reparam = pytest.importorskip("numpyro.infer.reparam")
infer = pytest.importorskip("numpyro.infer")
guides = pytest.importorskip("numpyro.infer.autoguide")

N, D = 6, 5
RNG = np.random.default_rng(1)
A, B, C = (np.float32(RNG.normal(size=shape)) for shape in ((D, 2), D, D))
# From u = (a, b_decentered, log s) to a, b, log s; log s has the deviation 0.4.
M = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, -1, 0.5, 0], [0, 0, 0, 1.0]])
W, PRIOR = np.column_stack([A, B, C]) @ M, np.diag([1, 1, 1, 0.4**2])
X = np.float32(RNG.normal(size=(N, 4)) @ np.sqrt(PRIOR) @ W.T + 0.6 * RNG.normal(size=(N, D)))


@pytest.fixture(autouse=True)
def promoting():
    """NumPyro promotes ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


def body(shape, x, noise=0.6):
    a = numpyro.sample("a", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    b = numpyro.sample("b", dist.Normal(a[..., 0] - a[..., 1], 0.5))
    s = numpyro.sample("s", dist.LogNormal(0.0, 0.4))
    mean = a @ A.T + jnp.asarray(b)[..., None] * B + jnp.log(jnp.asarray(s))[..., None] * C
    numpyro.sample("x", dist.Normal(mean, noise).to_event(1), obs=x)


def of_one(x):
    body((), x)


def of_batch(x):
    with numpyro.plate("data", len(x)):
        body((len(x),), x)


def subsampled(x):
    with numpyro.plate("data", 1000, subsample_size=len(x)):
        body((len(x),), x)


def two_arguments(offset, x, sign):
    with numpyro.plate("data", len(x)):
        body((len(x),), sign * x - offset)


def by_keyword(*, x, offset, sign):
    two_arguments(offset, x, sign)


DECENTERED = {"b": reparam.LocScaleReparam(0)}
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


def shared_scale(x):
    noise = numpyro.sample("noise", dist.LogNormal(0.0, 1.0))
    weight = numpyro.param("weight", jnp.ones(()))
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(0.0, 2.0))
        numpyro.sample("x", dist.Normal(weight * z, noise), obs=x)


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


def discrete(x):
    with numpyro.plate("data", len(x)):
        c = numpyro.sample("c", dist.Categorical(jnp.ones(3) / 3))
        z = numpyro.sample("z", dist.Normal(c, 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x)


def improper(x):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x)


def one_z(x, prior=None, scale=None, size=None, obs=True, plate=True, center=False, noise=False):
    """x ~ N(z, 1), and one thing that is wrong."""
    plates = numpyro.plate("data", size or len(x)) if plate else handlers.mask(mask=True)
    with handlers.scale(scale=scale or 1.0), plates:
        z = numpyro.sample(
            "z", prior or (dist.Normal(0, 2) if plate else dist.Normal(jnp.zeros(len(x)), 2.0))
        )
        mean = z - jnp.mean(x) if center else z
        mean = mean + jax.random.normal(numpyro.prng_key(), jnp.shape(x)) if noise else mean
        numpyro.sample("x", dist.Normal(mean, 1.0), obs=x if obs else None)


def inner_subsample(x):
    with numpyro.plate("data", len(x), dim=-2):
        z = numpyro.sample("z", dist.Normal(0.0, 2.0))
        with numpyro.plate("pixels", 5, subsample_size=2, dim=-1) as index:
            numpyro.sample("x", dist.Normal(z, 1.0), obs=x[:, index])


def decentered(x):
    with handlers.reparam(config={"b": reparam.LocScaleReparam(0)}), numpyro.plate("data", len(x)):
        b = numpyro.sample("b", dist.Normal(1.0, 0.5))
        numpyro.sample("x", dist.Normal(b, 1.0), obs=x)


def with_network(x):
    weight = numpyro.param("weight", jnp.ones(()))
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(0.0, 2.0))
        numpyro.sample("x", dist.Normal(weight * z, 1.0), obs=x)


def all_global(x):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(slope, 1.0), obs=x)


def part_subsampled(x):
    z = numpyro.sample("z", dist.Normal(0.0, 2.0).expand([len(x)]).to_event(1))
    with numpyro.plate("data", 50, subsample_size=len(x)):
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x)


def broken(x):
    raise KeyError("weights")


def partly_observed(x):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x, obs_mask=x > 0.0)


ONE = np.float32(RNG.normal(size=N))
GIVEN = {"weight": 1.0}
REFUSED = {
    "discrete": (discrete, {}, "the latent sites? 'c' is discrete"),
    "improper": (improper, {}, "the prior of 'z' is improper"),
    "masked": (partly_observed, {}, "latent site 'x_unobserved' is masked"),
    "scaled": (lambda x: one_z(x, scale=0.1), {}, "log-density of 'z' is scaled by 0.1"),
    "the whole plate": (lambda x: one_z(x, size=N), {}, "must be len\\(x\\)"),
    "nothing observed": (lambda x: one_z(x, obs=False), {}, "no observed site"),
    "nothing latent": (with_network, {"params": GIVEN | {"z": np.float32(0.3)[None]}}, "has no latent site"),
    "no plate": (lambda x: one_z(x, plate=False), {}, "'z' has a value for each row of x, .* no plate"),
    "no plate of a batch": (lambda x: one_z(x, plate=False), {"batched": True}, "the size of no plate"),
    "others in a datapoint's density": (lambda x: one_z(x, center=True), {}, "must not depend on other"),
    "random numbers": (lambda x: one_z(x, noise=True), {}, "must be pure, without dropout"),
    "a subsample inside": (inner_subsample, {"x": X}, "'pixels' takes 2 of 5"),
    "a site in the place of its reparametrised one": (
        decentered, {"params": {"b": 0.3}}, "params has 'b', which the model computes .* 'b_decentered'",
    ),
    "no params": (with_network, {}, "params lacks 'weight' of the model"),
    "a value of each datapoint": (with_network, {"params": GIVEN | {"z": ONE}}, "Incompatible shapes"),
    "a value of another shape": (
        shared_scale, {"params": GIVEN | {"noise": np.ones(1)}}, r"params\['noise'\] has the shape \(1,\)",
    ),
    "global": (all_global, {}, "'slope' outside of the plate 'data'"),
    "a site outside": (part_subsampled, {}, "'z' outside of the"),
    "an exception": (broken, {"batched": False}, r"model\(float32\[\]\) raised KeyError: 'weights'"),
    "an exception of a batch": (broken, {}, r"raised KeyError: 'weights'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_density_of_one_datapoint_is_refused(case):
    model, given, line = REFUSED[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        from_numpyro(model, **({"x": ONE} | given))
    assert "\n" not in str(raised.value)


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


def guided(guide, model=of_batch, **given):
    return from_numpyro(model, guide, **({"x": X} | given))["encode"]


def right_guide(x, weight=0.1):
    with numpyro.plate("data", len(x)):
        numpyro.sample("a", dist.Normal(weight * x[:, :2], 0.7).to_event(1))
        numpyro.sample("b", dist.Normal(weight * x[:, 2], 0.9))
        numpyro.sample("s", dist.LogNormal(weight * x[:, 3], jnp.array(0.3)))


def trained_guide(x):
    right_guide(x, numpyro.param("weight", jnp.ones(())))


def dense_guide(x):
    with numpyro.plate("data", len(x)):
        tril = jnp.array([[0.7, 0.0], [0.2, 0.4]])
        numpyro.sample("a", dist.MultivariateNormal(0.1 * x[:, :2], scale_tril=tril))
        numpyro.sample("b", dist.Normal(0.1 * x[:, 2], 0.9))
        numpyro.sample("s", dist.LogNormal(0.1 * x[:, 3], 0.3))


def test_a_guide_is_an_encoder_of_the_unconstrained_coordinates():
    for encode, params in (
        (guided(right_guide), {}),
        (guided(trained_guide, params={"weight": 0.1}), {"weight": 0.1}),
    ):
        mu_NxK, sigma_NxK = jax.jit(jax.vmap(encode, in_axes=(None, 0)))(params, X)
        np.testing.assert_allclose(mu_NxK, 0.1 * X[:, :4], rtol=1e-5)
        np.testing.assert_allclose(sigma_NxK, np.tile([0.7, 0.7, 0.9, 0.3], (N, 1)), rtol=1e-5)
    mu_NxK, S_NxKxK = jax.vmap(guided(dense_guide), in_axes=(None, 0))({}, X)
    np.testing.assert_allclose(mu_NxK, 0.1 * X[:, :4], rtol=1e-5)
    wanted = np.diag([0.7, 0.4, 0.9, 0.3])
    wanted[1, 0] = 0.2
    np.testing.assert_allclose(S_NxKxK, np.tile(wanted, (N, 1, 1)), rtol=1e-5)


def fitted(kind, model, x=X, num_steps=3):
    """An AutoGuide after a few steps, with its params."""
    guide = kind(model)
    svi = infer.SVI(model, guide, numpyro.optim.Adam(0.05), infer.Trace_ELBO())
    result = svi.run(jax.random.key(0), num_steps, x, progress_bar=False)
    return guide, result.params


def of_sites(values):
    return np.column_stack([np.reshape(values[name], (N, -1)) for name in ("a", "b_decentered", "s")])


@pytest.mark.parametrize("kind", ["AutoNormal", "AutoDiagonalNormal"])
def test_an_autoguide_of_a_batch_is_arrays_of_each_datapoint(kind):
    model = handlers.reparam(of_batch, config=DECENTERED)
    guide, params = fitted(getattr(guides, kind), model)
    mu_NxK, sigma_NxK = guided(guide, model, params=params)
    # By draws of the guide itself.
    draws = guide.sample_posterior(jax.random.key(1), params, sample_shape=(4000,))
    draws = {**draws, "s": jnp.log(draws["s"])}
    mean_NxK = of_sites({name: np.mean(value, axis=0) for name, value in draws.items()})
    deviation_NxK = of_sites({name: np.std(value, axis=0) for name, value in draws.items()})
    assert np.all(np.abs(mu_NxK - mean_NxK) <= 5.0 * sigma_NxK / np.sqrt(4000))
    np.testing.assert_allclose(sigma_NxK, deviation_NxK, rtol=5.0 / np.sqrt(2 * 4000))
    with pytest.raises(vaelab.AuditError, match="give the x that the guide was fitted to"):
        guided(guide, model, params=params, x=X[:3])
    with pytest.raises(vaelab.AuditError, match=r"params lacks .*_loc"):
        guided(guide, model)


@pytest.mark.slow
def test_a_dense_autoguide_of_one_datapoint_has_its_covariance():
    model = handlers.reparam(of_one, config=DECENTERED)
    guide, params = fitted(guides.AutoMultivariateNormal, model, X[0], num_steps=200)
    mu_1xK, S_1xKxK = guided(guide, model, params=params, x=X[:1])
    draws = guide.sample_posterior(jax.random.key(1), params, sample_shape=(20_000,))
    u_SxK = np.column_stack([draws["a"], draws["b_decentered"], np.log(draws["s"])])
    covariance = S_1xKxK[0] @ S_1xKxK[0].T
    deviation = np.sqrt(np.diag(covariance))
    assert np.max(np.abs(np.corrcoef(u_SxK.T) - np.eye(4))) > 0.1
    error = np.abs(np.cov(u_SxK.T) - covariance)
    assert np.all(error <= 5.0 * np.sqrt(2.0 / 20_000) * np.outer(deviation, deviation))
    assert np.all(np.abs(u_SxK.mean(axis=0) - mu_1xK[0]) <= 5.0 * deviation / np.sqrt(20_000))
    with pytest.raises(vaelab.AuditError, match="the same q for all 6 of x"):
        guided(guide, model, params=params)


def gamma_guide(x):
    with numpyro.plate("data", len(x)):
        numpyro.sample("a", dist.Normal(0.1 * x[:, :2], 0.7).to_event(1))
        numpyro.sample("b", dist.Normal(0.1 * x[:, 2], 0.9))
        numpyro.sample("s", dist.Gamma(2.0, 1.0))


def normal_of_positive(x):
    with numpyro.plate("data", len(x)):
        numpyro.sample("a", dist.Normal(0.1 * x[:, :2], 0.7).to_event(1))
        numpyro.sample("b", dist.Normal(0.1 * x[:, 2], 0.9))
        numpyro.sample("s", dist.Normal(1.0, 0.1))


def other_transform(x):
    with numpyro.plate("data", len(x)):
        numpyro.sample("a", dist.Normal(0.1 * x[:, :2], 0.7).to_event(1))
        numpyro.sample("b", dist.Normal(0.1 * x[:, 2], 0.9))
        softplus = dist.transforms.SoftplusTransform()
        numpyro.sample("s", dist.TransformedDistribution(dist.Normal(0.0, 1.0), softplus))


def hierarchical(x):
    with numpyro.plate("data", len(x)):
        a = numpyro.sample("a", dist.Normal(0.1 * x[:, :2], 0.7).to_event(1))
        numpyro.sample("b", dist.Normal(a[:, 0], 0.9))
        numpyro.sample("s", dist.LogNormal(0.0, 0.3))


def of_all_rows(x):
    loc = numpyro.param("loc", jnp.zeros(N))
    with numpyro.plate("data", N):
        numpyro.sample("z", dist.Normal(loc, 1.0))


NO_ENCODER = {
    "another distribution": (gamma_guide, {}, "the guide's site 's' is Gamma: as an encoder"),
    "of z and not of u": (normal_of_positive, {}, "site 's' is Normal, which is no Normal of"),
    "another transform": (other_transform, {}, "site 's' is TransformedDistribution, which is no Normal of"),
    "one site from another's draw": (hierarchical, {}, "other parameters with another seed"),
    "the site before it is reparametrised": (
        right_guide, {"model": handlers.reparam(of_batch, config=DECENTERED)},
        "has the sites 'a', 'b', 's' and the model 'a', 'b_decentered', 's'",
    ),
    "no params": (trained_guide, {}, "params lacks 'weight' of the guide"),
    "fitted to each datapoint": (
        of_all_rows, {"model": with_network, "x": ONE, "params": {"weight": 1.0, "loc": jnp.zeros(N)}},
        r"'z' has the shape \(6,\) where it is called with one datapoint",
    ),
    "an exception": (broken, {}, r"guide\(float32\[1,5\]\) raised KeyError"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_ENCODER)
def test_what_is_no_normal_of_x_alone_is_refused(case):
    guide, given, line = NO_ENCODER[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        guided(guide, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_autoguides_that_are_no_normal_of_each_datapoint_are_refused():
    with pytest.raises(vaelab.AuditError, match="the guide is not fitted"):
        guided(guides.AutoNormal(of_batch))
    guide, params = fitted(guides.AutoMultivariateNormal, of_batch, num_steps=20)
    with pytest.raises(vaelab.AuditError, match="has covariances between datapoints"):
        guided(guide, params=params)
    guide, params = fitted(guides.AutoDelta, of_batch)
    with pytest.raises(vaelab.AuditError, match="the guide is AutoDelta"):
        guided(guide, params=params)


@pytest.mark.slow
def test_a_plate_of_the_datapoints_may_have_others_inside_at_any_dimension():
    """z_n of each row in dimension -2, w_nd of each number in both: u is w_n1, ..., w_n5, z_n."""

    def model(x):
        with numpyro.plate("data", len(x), dim=-2):
            z = numpyro.sample("z", dist.Normal(0.0, 2.0))
            with numpyro.plate("pixels", D, dim=-1):
                w = numpyro.sample("w", dist.LogNormal(z, 0.5))
                numpyro.sample("x", dist.Normal(jnp.log(w), 1.0), obs=x)

    def guide(x):
        with numpyro.plate("data", len(x), dim=-2):
            numpyro.sample("z", dist.Normal(x[:, :1], 0.3))
            with numpyro.plate("pixels", D, dim=-1):
                numpyro.sample("w", dist.LogNormal(2.0 * x, 0.2))

    arguments = from_numpyro(model, guide, x=X)
    u_K = RNG.normal(size=D + 1)
    w, z = u_K[:D], u_K[D]
    wanted = stats.norm(0, 2).logpdf(z) + stats.norm(z, 0.5).logpdf(w).sum()
    wanted += stats.norm(w, 1).logpdf(np.float64(X[3])).sum()
    np.testing.assert_allclose(arguments["log_joint"]({}, X[3], jnp.float32(u_K)), wanted, rtol=1e-5)
    mu_K, sigma_K = arguments["encode"]({}, X[3])
    np.testing.assert_allclose(mu_K, [*(2.0 * X[3]), X[3, 0]], rtol=1e-5)
    np.testing.assert_allclose(sigma_K, [0.2] * D + [0.3], rtol=1e-5)
    guide, params = fitted(guides.AutoNormal, model)
    mu_NxK, _ = guided(guide, model, params=params)
    median = guide.median(params)
    np.testing.assert_allclose(mu_NxK[:, :D], np.log(median["w"]), atol=1e-4)
    np.testing.assert_allclose(mu_NxK[:, D], median["z"][:, 0], atol=1e-4)


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
