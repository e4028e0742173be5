"""The aggregate posterior: by quadrature for a handful of q, in closed form for the linear-Gaussian model."""

import jax
import numpy as np
import pytest

from tests.support.oracles import FIVE, LinearGaussian, gaussian_kl, log_abs_det, log_normal
from vaelab import posterior
from vaelab.measure import aggregate, units
from vaelab.measure.encoding import encoded, noise
from vaelab.measure.gap import mean_and_stderr

K = 2
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K)}  # each compiles once


def phi_of(name, mean_NxK, scale_KxK):
    """phi_NxP of q_n = N(mean_n, S S') in a family."""
    rest = np.log(np.diag(scale_KxK)) if name == "diagonal" else scale_KxK.reshape(-1)
    return np.float32(np.concatenate([mean_NxK, np.tile(rest, (len(mean_NxK), 1))], axis=1))


def seen(name, phi_NxP, *, rows=10**6, num_draws=4):
    return encoded(FAMILIES[name], phi_NxP, noise_of(min(rows, len(phi_NxP)), num_draws))


def noise_of(rows, num_draws):
    return noise(jax.random.key(3), np.arange(rows), num_draws=num_draws, latent_dim=K)


def on_grid(mean_NxK, scale_KxK):
    """(I, KL to the prior, total correlation) of the mean of the q themselves, by a sum over a grid."""
    axis = np.linspace(-9.0, 9.0, 721)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    weight = (axis[1] - axis[0]) ** 2
    inverse = np.linalg.inv(scale_KxK)
    square = np.sum(((z[None] - mean_NxK[:, None, None]) @ inverse.T) ** 2, axis=-1)
    q_N = np.exp(-0.5 * square) / (2.0 * np.pi * np.exp(log_abs_det(scale_KxK)))
    q = np.mean(q_N, axis=0)
    product = np.outer(np.sum(q, axis=1), np.sum(q, axis=0)) * (axis[1] - axis[0]) ** 2
    prior = np.exp(-0.5 * np.sum(z**2, axis=-1)) / (2.0 * np.pi)

    def kl(p, r):
        return weight * np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / r), 0.0))

    return np.mean([kl(one, q) for one in q_N]), kl(q, prior), kl(q, product)


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_of_all_datapoints_the_aggregate_is_that_of_a_grid(name):
    """Twelve q: what knows the draw is exact for the mean of these q, whatever there is of others."""
    rng = np.random.default_rng(0)
    scale = np.diag([0.5, 0.8]) if name == "diagonal" else np.array([[0.5, 0.3], [-0.2, 0.6]])
    mean = rng.normal(size=(12, K))
    values_of = seen(name, phi_of(name, mean, scale), num_draws=4000)
    values = aggregate.densities(values_of.members, values_of.draws)
    information, marginal, correlation = on_grid(np.float64(np.float32(mean)), scale)
    product_N = np.sum(values.whole_NxK, axis=1)
    for got_N, truth in (
        (values.own - values.whole, information),
        (values.whole - values.prior, marginal),
        (values.whole - product_N, correlation),
    ):
        # The draws' own error, from halves: the datapoints are all there are.
        assert np.mean(got_N) == pytest.approx(truth, abs=FIVE * 1.5 / np.sqrt(12 * 4000))


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_every_density_is_what_its_name_says(name):
    """Nine q, three draws of each, one density at a time."""
    rng = np.random.default_rng(2)
    scale = np.diag([0.5, 0.8]) if name == "diagonal" else np.array([[0.5, 0.3], [-0.2, 0.6]])
    found = seen(name, phi_of(name, rng.normal(size=(9, K)), scale), num_draws=3)
    mean, z = found.members.mean_NxK, found.draws.z_NxSxK
    values = aggregate.densities(found.members, found.draws)
    covariance = np.float32(scale) @ np.float64(np.float32(scale)).T

    def mixed(n, members, dims):
        part = covariance[np.ix_(dims, dims)]
        at = [[np.exp(log_normal(one[dims], mean[m][dims], part)) for m in members] for one in z[n]]
        return np.mean(np.log(np.mean(at, axis=1)))

    everyone, both, wanted = list(range(9)), [0, 1], {name: [] for name in aggregate.Densities._fields}
    for n in everyone:
        others = [m for m in everyone if m != n]
        half = z[[m for m in everyone if m % 2 != n % 2]].reshape(-1, K)
        moments = np.mean(half, axis=0), np.cov(half.T)
        wanted["own"].append(mixed(n, [n], both))
        wanted["whole"].append(mixed(n, everyone, both))
        wanted["others"].append(mixed(n, others, both))
        wanted["gaussian"].append(np.mean([log_normal(one, *moments) for one in z[n]]))
        wanted["prior"].append(np.mean([log_normal(one, np.zeros(K), np.eye(K)) for one in z[n]]))
        wanted["whole_NxK"].append([mixed(n, everyone, [k]) for k in both])
        wanted["others_NxK"].append([mixed(n, others, [k]) for k in both])
    for field, values_N in wanted.items():
        np.testing.assert_allclose(getattr(values, field), values_N, rtol=1e-5, atol=1e-5, err_msg=field)


def test_each_bound_is_of_the_densities_that_make_it_one():
    high, low = np.array([-3.0, -4.0]), np.array([-5.0, -6.5])
    own, prior = np.array([-1.0, -1.5]), np.array([-7.0, -8.0])
    values = aggregate.Densities(own, high, low - 1.0, low, prior, -np.ones((2, 2)), -2.0 * np.ones((2, 2)))
    rate = np.array([6.5, 6.0])
    bounds = aggregate.against_prior(values, rate, known_prior=True)
    assert bounds["unknown_marginal"] == "Gaussian"
    wanted = {
        "mutual_information": (own - high, own - low),
        "marginal_kl": (low - prior, high - prior),
        "total_correlation": (np.zeros(2), high + 4.0),  # low + 2 is below 0, as no divergence is
        "dimension_wise_kl": (-4.0 - prior, -2.0 - prior),
    }
    for name, sides in wanted.items():
        assert bounds[name] == dict(zip(("lower", "upper"), map(mean_and_stderr, sides), strict=True)), name
    unknown = aggregate.against_prior(values, rate, known_prior=False)
    assert set(unknown) & set(wanted) == {"mutual_information", "total_correlation"}
    by_prior = aggregate.against_prior(
        values._replace(gaussian=prior - 1.0, others=prior - 2.0), rate, known_prior=True
    )
    assert by_prior["unknown_marginal"] == "prior"
    assert by_prior["mutual_information"]["upper"] == mean_and_stderr(rate)
    assert by_prior["marginal_kl"]["lower"] == {"mean": 0.0, "stderr": 0.0}


class Affine:
    """q(z given x) = N(A (x - b), V) for x of a linear-Gaussian model: everything is Gaussian."""

    def __init__(self, count, seed=0):
        rng = np.random.default_rng(seed)
        self.model = LinearGaussian.random(rng, 5, (1.4, 0.8), 0.9)
        self.matrix = 0.9 * np.linalg.inv(self.model.precision()) @ self.model.weight.T / self.model.variance
        self.scale = np.array([[0.7, 0.2], [0.0, 0.6]])
        self.x = self.model.sample(rng, count)
        self.mean_NxK = (self.x - self.model.bias) @ self.matrix.T
        self.covariance = self.scale @ self.scale.T
        of_means = self.matrix @ self.model.evidence_covariance @ self.matrix.T
        self.whole = of_means + self.covariance

    @property
    def truth(self):
        information = 0.5 * (log_abs_det(self.whole) - log_abs_det(self.covariance))
        marginal = gaussian_kl(np.zeros(K), self.whole, np.zeros(K), np.eye(K))
        correlation = 0.5 * (np.sum(np.log(np.diag(self.whole))) - log_abs_det(self.whole))
        return {
            "mutual_information": information,
            "marginal_kl": marginal,
            "total_correlation": correlation,
            "dimension_wise_kl": marginal - correlation,
        }


@pytest.fixture(scope="module")
def measured():
    made = Affine(1200)
    found = seen("full", phi_of("full", made.mean_NxK, made.scale), num_draws=2)
    return made, found, aggregate.densities(found.members, found.draws)


def test_both_bounds_hold_the_closed_form_between_them(measured):
    made, found, values = measured
    bounds = aggregate.against_prior(values, found.kl_N, known_prior=True)
    for name, truth in made.truth.items():
        lower, upper = bounds[name]["lower"], bounds[name]["upper"]
        assert lower["mean"] - FIVE * lower["stderr"] <= truth <= upper["mean"] + FIVE * upper["stderr"]
        # With 1,200 datapoints of two dimensions the bounds are close.
        assert upper["mean"] - lower["mean"] < 0.12, name


def test_the_surgery_adds_up(measured):
    _, found, values = measured
    bounds = aggregate.against_prior(values, found.kl_N, known_prior=True)
    rate = mean_and_stderr(found.kl_N)
    noise = mean_and_stderr(values.own - values.prior - found.kl_N)["stderr"]
    for information, marginal in (("lower", "upper"), ("upper", "lower")):
        total = bounds["mutual_information"][information]["mean"] + bounds["marginal_kl"][marginal]["mean"]
        assert total == pytest.approx(rate["mean"], abs=FIVE * noise)
    chain = ("mutual_information", "lower"), ("total_correlation", "upper"), ("dimension_wise_kl", "lower")
    total = sum(bounds[name][side]["mean"] for name, side in chain)
    assert total == pytest.approx(rate["mean"], abs=FIVE * noise)


def test_the_error_is_that_of_other_datapoints():
    """The spread over 40 data sets of the bounds is the error that each states."""
    stated, means = [], []
    for seed in range(40):
        made = Affine(150, seed=0)
        rng = np.random.default_rng(100 + seed)
        mean_NxK = (made.model.sample(rng, 150) - made.model.bias) @ made.matrix.T
        found = seen("full", phi_of("full", mean_NxK, made.scale), num_draws=2)
        values = aggregate.densities(found.members, found.draws)
        bounds = aggregate.against_prior(values, found.kl_N, known_prior=True)
        sides = [bounds[name]["lower"] for name in ("mutual_information", "total_correlation")]
        stated.append([side["stderr"] for side in sides])
        means.append([side["mean"] for side in sides])
    ratio = np.std(means, axis=0, ddof=1) / np.mean(stated, axis=0)
    assert np.all(np.abs(ratio - 1.0) < FIVE / np.sqrt(2 * 39)), ratio


def test_too_few_datapoints_say_so_by_bounds_apart():
    """Narrow q, of which the mean of 50 knows nothing between them: I >= log 50, the upper bound holds."""
    made = Affine(50)
    made.scale = 1e-3 * np.eye(K)
    made.covariance = made.scale @ made.scale.T
    made.whole = made.matrix @ made.model.evidence_covariance @ made.matrix.T + made.covariance
    found = seen("diagonal", phi_of("diagonal", made.mean_NxK, made.scale))
    values = aggregate.densities(found.members, found.draws)
    bounds = aggregate.against_prior(values, found.kl_N, known_prior=True)
    lower, upper = (bounds["mutual_information"][side]["mean"] for side in ("lower", "upper"))
    assert lower == pytest.approx(bounds["log_num_points"], abs=0.05)
    truth = made.truth["mutual_information"]
    assert lower < truth - 5.0
    assert truth - 0.6 < upper < truth + 1.0
    assert bounds["unknown_marginal"] == "Gaussian"
    assert np.mean(found.kl_N) == pytest.approx(truth + made.truth["marginal_kl"], abs=1.0)


def test_a_flow_with_one_transformation_has_the_information_of_its_gaussian():
    """z = T(u), T the same for all datapoints: I is that of u, and the KL to the prior another."""
    flow = posterior.real_nvp(K, num_layers=2, hidden=4)
    rng = np.random.default_rng(0)
    shared = np.float32(np.asarray(flow.init())[2 * K :] + 0.5 * rng.normal(size=flow.shared_size))
    local = phi_of("diagonal", rng.normal(size=(300, K)), np.diag([0.5, 0.7]))
    phi = np.concatenate([local, np.tile(shared, (300, 1))], axis=1)
    eps = noise_of(300, 8)
    by_flow, plain = encoded(flow, phi, eps), encoded(FAMILIES["diagonal"], local, eps)
    values, wanted = (aggregate.densities(one.members, one.draws) for one in (by_flow, plain))
    np.testing.assert_allclose(values.own - values.whole, wanted.own - wanted.whole, atol=1e-4)
    np.testing.assert_allclose(values.own - values.prior, by_flow.kl_N, atol=1e-4)
    assert np.max(np.abs(values.prior - wanted.prior)) > 0.1
    assert values.whole_NxK is None
    assert not by_flow.exact
    unshared = phi + np.float32(rng.normal(size=phi.shape) * (np.arange(phi.shape[1]) >= 2 * K))
    assert encoded(flow, unshared, eps).members is None


def test_what_is_not_finite_is_left_out_and_draws_are_of_the_index():
    rng = np.random.default_rng(1)
    phi = phi_of("full", rng.normal(size=(40, K)), np.array([[0.7, 0.2], [0.1, 0.6]]))
    whole = seen("full", phi)
    phi[3, K:] = 1.0  # a singular S
    phi[5, 0] = np.nan
    some = seen("full", phi, rows=20)
    assert some.rows_M.tolist() == [n for n in range(20) if n not in (3, 5)]
    assert np.flatnonzero(np.isnan(some.kl_N)).tolist() == [3, 5]
    assert np.flatnonzero(np.isnan(some.kl_NxK).any(axis=1)).tolist() == [3, 5]
    np.testing.assert_allclose(some.draws.z_NxSxK, whole.draws.z_NxSxK[some.rows_M], rtol=1e-6)


def test_the_kl_by_dimension_lacks_the_correlations():
    scale = np.array([[0.7, 0.2], [0.4, 0.6]])
    found = seen("full", phi_of("full", np.random.default_rng(1).normal(size=(9, K)), scale))
    covariance = scale @ scale.T
    within = 0.5 * (np.sum(np.log(np.diag(covariance))) - log_abs_det(covariance))
    np.testing.assert_allclose(found.kl_N - found.kl_NxK.sum(axis=1), within, atol=1e-5)
    assert units.has_correlations(found.members.scale_NxKxK)


@pytest.mark.parametrize("thin", [False, True])
def test_squares_by_one_product_are_those_of_each_member(thin):
    """Of members of common scales, and where one is so thin that the expanded terms would lose its digits."""
    rng = np.random.default_rng(0)
    mean, scale = 100.0 + rng.normal(size=(7, 5)), rng.normal(size=(7, 5, 5))
    u = mean[rng.integers(7, size=20)] + rng.normal(size=(20, 5))
    if thin:
        scale[3] *= 1e-7
        u[:4] = mean[3] + rng.normal(size=(4, 5)) @ scale[3].T
    quadratic = aggregate._Quadratic(mean, np.linalg.inv(scale))
    expected = [
        [np.sum(np.linalg.solve(s, point - m) ** 2) for m, s in zip(mean, scale, strict=True)] for point in u
    ]
    # A draw of the thin one is itself rounded to 1e-14 at 100, which is 1e-7 of its scale.
    np.testing.assert_allclose(quadratic.at(u), expected, rtol=1e-5 if thin else 1e-9, atol=1e-7)
