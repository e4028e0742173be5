"""NumPyro: losses of SVI, guides, and what its distributions give outside of a support."""

from functools import partial

from benchmarks.packages.expected import annealed_bound, importance_bound
from benchmarks.packages.functions import in_jax
from benchmarks.packages.model import Model, N
from benchmarks.packages.record import Number, Package, Trap, Values, tell

STEPS, STEP_SIZE, DAMPING = 8, 0.5, 0.7  # of AutoDAIS

PACKAGE = Package(
    name="numpyro",
    title="NumPyro",
    pins=("numpyro==0.22.0", "jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6"),
    about="""SVI with a model of the datapoints in a plate and a guide of `Normal` sites, as
`vaelab.from_numpyro` takes them. A loss is that of the whole data set: with `subsample_size` it is
scaled up to it. `AutoNormal` and the other AutoGuides are guides of the unconstrained coordinates, and
the loss is the same bound, with the Jacobian in it.""",
    numbers=(
        Number(
            "trace_elbo",
            "svi.evaluate(state, x), Trace_ELBO()",
            "minus the ELBO, sum over the datapoints, one sample of z",
            "L[q]",
            -1.0 / N,
            "bound from below, after the sign",
        ),
        Number(
            "auto_normal",
            "Trace_ELBO(), AutoNormal(model)",
            "minus the ELBO, sum over the datapoints; its parameters set to the encoder's q",
            "L[q]",
            -1.0 / N,
            "bound from below, after the sign",
        ),
        Number(
            "renyi",
            "RenyiELBO(alpha=0, num_particles=10)",
            "minus the importance-weighted bound, sum over the datapoints of a plate",
            "log p(x)",
            -1.0 / N,
            "bound from below, after the sign",
            partial(importance_bound, samples=10),
            "10 samples for each datapoint",
        ),
        Number(
            "dais",
            "Trace_ELBO(), AutoDAIS(model, K=8, eta_init=.5, eta_max=1, gamma_init=.7)",
            "minus a bound by annealing without rejection, sum over the datapoints; from the encoder's q",
            "log p(x)",
            -1.0 / N,
            "bound from below, after the sign, at any step size",
            partial(annealed_bound, steps=STEPS, step_size=STEP_SIZE, damping=DAMPING),
            "the same leapfrog steps in NumPy, without the package",
        ),
    ),
    traps=(
        Trap(
            "grey",
            "`Bernoulli(probs=0.5).log_prob(0.5)`, grey data, is {value} with a warning at most, inside of "
            "jit without; so is "
            "every value outside of a support, NaN among them. `from_numpyro` and `audit` refuse such data "
            "with a line.",
            float("-inf"),
            float("-inf"),
        ),
        Trap(
            "infinite",
            "`SVI.run` of 100 steps on such data has {value:.0f} losses of inf and ends without an error or "
            "warning, its parameters moved and finite. Look at the losses.",
            100,
            100,
        ),
        Trap(
            "mixture",
            "A guide of `MixtureSameFamily` has the right loss under `Trace_ELBO` and no gradient of its "
            "weights: the mean "
            "over 20,000 keys is {value:.3f} of that by quadrature, with an error of 0.003, and they do "
            "not learn.",
            -0.015,
            0.015,
        ),
        Trap(
            "mixture_graph",
            "Under `TraceGraph_ELBO` it is {value:.3f} of it, with an error of 0.008.",
            0.96,
            1.04,
        ),
        Trap(
            "truncated",
            "`TruncatedNormal(low=8, high=12).log_prob(8.1)` is {value}, where 1.2895 is right: float32 has"
            " no mass out there.",
            float("inf"),
            float("inf"),
        ),
        Trap(
            "kumaraswamy",
            "`kl_divergence(Kumaraswamy(1, .5), Beta(1, 5))`, of stick-breaking, is {value:.3f} of that by "
            "quadrature, and an ELBO with it "
            "too high: a series is cut off. `Trace_ELBO`, which takes samples, is right.",
            0.6,
            0.75,
        ),
    ),
)


def measured(model: Model) -> Values:
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceGraph_ELBO
    from numpyro.infer.autoguide import AutoDAIS, AutoNormal

    f = in_jax(model)
    mu, log_var = f.encode(f.x_NxD)
    sigma = jnp.exp(0.5 * log_var)

    def vae(x):
        with numpyro.plate("datapoints", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros((len(x), 2)), 1.0).to_event(1))
            numpyro.sample("x", dist.Bernoulli(logits=f.logits(z)).to_event(1), obs=x)

    def guide(x):
        with numpyro.plate("datapoints", len(x)):
            numpyro.sample("z", dist.Normal(mu, sigma).to_event(1))

    def losses(guide, objective, repeats, params=None):
        svi = SVI(vae, guide, numpyro.optim.Adam(1e-3), objective)
        state = svi.init(jax.random.key(0), f.x_NxD)
        values = {**svi.get_params(state), **(params or {})}
        keys = jax.random.split(jax.random.key(1), repeats)
        return jax.jit(jax.vmap(lambda key: objective.loss(key, values, svi.model, svi.guide, f.x_NxD)))(keys)

    def smoothed(given):
        return AutoDAIS(given, K=STEPS, eta_init=STEP_SIZE, eta_max=2 * STEP_SIZE, gamma_init=DAMPING)

    def grey() -> float:
        svi = SVI(vae, guide_of_means, numpyro.optim.Adam(1e-2), Trace_ELBO())
        run = svi.run(jax.random.key(0), 100, jnp.full_like(f.x_NxD, 0.5), progress_bar=False)
        moved = run.params["mean"]
        assert bool(jnp.all(jnp.isfinite(moved)) & jnp.any(moved != 0.0))
        return float(jnp.sum(jnp.isinf(run.losses)))

    def guide_of_means(x):
        mean = numpyro.param("mean", jnp.zeros((len(x), 2)))
        with numpyro.plate("datapoints", len(x)):
            numpyro.sample("z", dist.Normal(mean, 1.0).to_event(1))

    auto = {"z_auto_loc": mu, "z_auto_scale": sigma}
    base = {"auto_z_0_loc": mu.ravel(), "auto_z_0_scale": sigma.ravel()}
    return {
        "trace_elbo": losses(guide, Trace_ELBO(), 2000),
        "auto_normal": losses(AutoNormal(vae), Trace_ELBO(), 2000, auto),
        "renyi": losses(guide, RenyiELBO(alpha=0, num_particles=10), 2000),
        "dais": losses(smoothed(vae), Trace_ELBO(), 2000, base),
        "infinite": grey(),
        "mixture": _slope_of_weights(numpyro, dist, Trace_ELBO()),
        "mixture_graph": _slope_of_weights(numpyro, dist, TraceGraph_ELBO()),
        "grey": dist.Bernoulli(probs=0.5, validate_args=True).log_prob(jnp.float32(0.5)),
        "truncated": dist.TruncatedNormal(low=8.0, high=12.0).log_prob(8.1),
        "kumaraswamy": _kumaraswamy(dist),
    }


def _kumaraswamy(dist) -> float:
    """The library's KL(Kumaraswamy(1, 1/2) || Beta(1, 5)) over that by quadrature, in the logit of x."""
    import numpy as np

    u = np.linspace(-60.0, 60.0, 200_001)
    log_less = -np.logaddexp(0.0, u)  # log(1 - x)
    log_q, log_p = np.log(0.5) - 0.5 * log_less, np.log(5.0) + 4.0 * log_less
    mass = np.exp(log_q + log_less - np.logaddexp(0.0, -u))
    assert abs(np.trapezoid(mass, u) - 1.0) < 1e-6
    exact = np.trapezoid(mass * (log_q - log_p), u)
    return float(dist.kl_divergence(dist.Kumaraswamy(1.0, 0.5), dist.Beta(1.0, 5.0))) / exact


def _slope_of_weights(numpyro, dist, objective) -> float:
    """The mean gradient of an ELBO in the logit of a guide's weights over that by quadrature.

    p(z) = N(2, 1) without data, q(z) = w N(-1, 1) + (1 - w) N(2, 1) at w = 1/2.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    def model():
        numpyro.sample("z", dist.Normal(2.0, 1.0))

    def guide():
        logit = numpyro.param("logit", jnp.float32(0.0))
        weights = dist.Categorical(logits=jnp.stack([logit, jnp.zeros(())]))
        parts = dist.Normal(jnp.array([-1.0, 2.0]), jnp.ones(2))
        numpyro.sample("z", dist.MixtureSameFamily(weights, parts))

    def bound(logit, key):
        return -objective.loss(key, {"logit": logit}, model, guide)

    keys = jax.random.split(jax.random.key(0), 20_000)
    slopes = jax.jit(jax.vmap(jax.grad(bound), (None, 0)))(jnp.float32(0.0), keys)
    z = np.linspace(-14.0, 15.0, 20_001)
    wrong, right = (np.exp(-0.5 * (z - mean) ** 2) / np.sqrt(2.0 * np.pi) for mean in (-1.0, 2.0))
    # d/dw E_q[log p - log q] = int (wrong - right) (log p - log q), and dw / dlogit = 1/4.
    exact = 0.25 * np.trapezoid((wrong - right) * np.log(right / (0.5 * wrong + 0.5 * right)), z)
    return float(slopes.mean()) / exact


if __name__ == "__main__":
    tell(PACKAGE, measured)
