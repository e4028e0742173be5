"""NumPyro: losses of SVI, guides, and what its distributions give outside of a support."""

from functools import partial

from benchmarks.packages.expected import importance_bound
from benchmarks.packages.functions import in_jax
from benchmarks.packages.model import Model, N
from benchmarks.packages.record import Number, Package, Trap, Values, tell

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
    ),
    traps=(
        Trap(
            "grey",
            "`Bernoulli(probs=0.5).log_prob(0.5)`, grey data, is {value} with a warning at most, inside of "
            "jit without; so is "
            "every value outside of a support, NaN among them, and SVI goes on with a loss of inf. "
            "`from_numpyro` and `audit` refuse "
            "such data with a line.",
            float("-inf"),
            float("-inf"),
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
    from numpyro.infer import SVI, RenyiELBO, Trace_ELBO
    from numpyro.infer.autoguide import AutoNormal

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

    auto = {"z_auto_loc": mu, "z_auto_scale": sigma}
    return {
        "trace_elbo": losses(guide, Trace_ELBO(), 2000),
        "auto_normal": losses(AutoNormal(vae), Trace_ELBO(), 2000, auto),
        "renyi": losses(guide, RenyiELBO(alpha=0, num_particles=10), 2000),
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


if __name__ == "__main__":
    tell(PACKAGE, measured)
