"""ArviZ: leave-one-out of samples of the posterior, and the sign of its smoothed weights."""

from functools import partial

from benchmarks.packages.expected import smoothed_harmonic_mean
from benchmarks.packages.model import Model, N, posterior_samples
from benchmarks.packages.record import Number, Package, Trap, Values, tell

PACKAGE = Package(
    name="arviz",
    title="ArviZ",
    pins=("arviz==1.3.0", "arviz-stats==1.3.3", "numpy==2.4.6", "scipy==1.17.1"),
    about="""`loo` of samples of p(z given x) with the pointwise log p(x given z). Where each datapoint
has a z of its own and the weights are fixed, leaving a datapoint out leaves its prior: elpd is then an
estimate of log p(x), by the harmonic mean of p(x given z), and not of the predictive density of new
data. With samples of q in the place of the posterior's it is neither. `vaelab.to_arviz` writes log p(x
given z) as ArviZ has it, higher for a likelier x, and log weights as log p(x, z) - log q(z).""",
    numbers=(
        Number(
            "loo",
            "loo(data).elpd",
            "log p(x), sum over the datapoints, with the se of a sum",
            "log p(x)",
            1.0 / N,
            "estimate from above, where the weights 1 / p(x given z) have a heavy tail",
            partial(smoothed_harmonic_mean, samples=4000),
            "the harmonic mean of p(x given z) misses its tail, and smoothing cuts it",
        ),
    ),
    traps=(
        Trap(
            "over",
            "`loo` is no estimate to report as log p(x): the Pareto k of {value:.0%} of the datapoints here"
            " is over 0.7, at "
            "4,000 samples of the posterior itself.",
            0.6,
            1.0,
        ),
        Trap(
            "heavy",
            "`arviz_stats.base.array_stats.psislw` takes log-likelihoods and turns their sign: log weights "
            "whose tail has k = 1.5 get "
            "{value:.2f}, which looks safe. "
            "Give it minus the log weights.",
            -2.0,
            0.0,
        ),
        Trap(
            "bounded", "Weights that are bounded, k below 0, get {value:.2f}, which looks unsafe.", 0.7, 1.3
        ),
        Trap("turned", "Given minus the log weights, those of k = 1.5 get {value:.2f}.", 1.2, 1.8),
    ),
    python=(3, 12),
)


def measured(model: Model) -> Values:
    import arviz
    import numpy as np
    from arviz_stats.base import array_stats

    rng = np.random.default_rng(0)

    def left_out():
        z = posterior_samples(model, model.x_NxD, 4000, rng)
        log_p = model.log_likelihood(model.x_NxD[:, None], z).T.reshape(4, 1000, N)
        groups = {
            "posterior": {"z": np.moveaxis(z, 0, 1).reshape(4, 1000, N, -1)},
            "log_likelihood": {"x": log_p},
        }
        return arviz.loo(arviz.from_dict(groups), pointwise=True)

    def k(log_weights: np.ndarray) -> float:
        return float(np.asarray(array_stats.psislw(log_weights)[1]))

    heavy = -1.5 * np.log(rng.uniform(size=20_000))
    bounded = np.log(rng.uniform(size=20_000))
    every = [left_out() for _ in range(10)]
    return {
        "loo": [float(each.elpd) for each in every],
        "over": np.mean([np.asarray(each.pareto_k) > 0.7 for each in every]),
        "heavy": k(heavy),
        "bounded": k(bounded),
        "turned": k(-heavy),
    }


if __name__ == "__main__":
    tell(PACKAGE, measured)
