"""Guides of NumPyro as encoders: N(mu, S S') of u by closed forms and by draws of the guide, or one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import vaelab
from tests.support.numpyro_models import DECENTERED, ONE, RNG, D, N, X, broken, of_batch, of_one, with_network
from vaelab import from_numpyro

numpyro = pytest.importorskip("numpyro")
dist, handlers = pytest.importorskip("numpyro.distributions"), pytest.importorskip("numpyro.handlers")
infer = pytest.importorskip("numpyro.infer")
guides = pytest.importorskip("numpyro.infer.autoguide")


@pytest.fixture(autouse=True)
def promoting():
    """NumPyro promotes ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


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
