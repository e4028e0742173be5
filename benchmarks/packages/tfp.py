"""TensorFlow Probability on JAX: variational losses, and samplers beside their own densities."""

from functools import partial

from benchmarks.packages.expected import importance_bound
from benchmarks.packages.functions import in_jax
from benchmarks.packages.model import Model
from benchmarks.packages.record import Number, Package, Trap, Values, tell

PACKAGE = Package(
    name="tfp",
    title="TensorFlow Probability",
    pins=("tfp-nightly==0.26.0.dev20261027", "jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6"),
    about="""`tfp.substrates.jax.vi`. The loss is the mean over `sample_size` samples of f(log p(x, z) -
log q(z)), one for each member of the batch of q: the target is unnormalised, so that what is called a KL
divergence is KL(q || p(z given x)) - log p(x), may be negative, and with another f than the default is a
divergence only up to a scale. Its annealed importance sampling is low by more than its error
([findings](../findings/README.md)).""",
    numbers=(
        Number(
            "loss",
            "vi.monte_carlo_variational_loss(log_joint, q)",
            "minus the ELBO, of each datapoint of the batch shape of q, one sample of z",
            "L[q]",
            -1.0,
            "bound from below, after the sign",
        ),
        Number(
            "importance",
            "the same with importance_sample_size=10",
            "minus the importance-weighted bound, of each datapoint",
            "log p(x)",
            -1.0,
            "bound from below, after the sign",
            partial(importance_bound, samples=10),
            "10 samples for each datapoint",
        ),
    ),
    traps=(
        Trap(
            "beta",
            "`Beta(.02, .02)`: log_prob is not finite at {value:.0%} of its own samples, which float32 has "
            "rounded to 0 and 1.",
            0.3,
            0.6,
        ),
        Trap(
            "relaxed",
            "`RelaxedBernoulli(temperature=.1, logits=2)`: not finite at {value:.0%} of its own. "
            "`vaelab.audit(support=)` holds z inside.",
            0.4,
            0.7,
        ),
        Trap(
            "gamma",
            "`Gamma(.01, 1)`: the gradient of its samples in the concentration is NaN for {value:.0%} of "
            "them, those that underflow.",
            0.2,
            0.6,
        ),
    ),
)


def measured(model: Model) -> Values:
    import jax
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as substrate

    tfd, f = substrate.distributions, in_jax(model)
    mu, log_var = f.encode(f.x_NxD)
    q = tfd.MultivariateNormalDiag(mu, jnp.exp(0.5 * log_var))

    def losses(repeats: int, **how) -> jax.Array:
        def one(key):
            loss = substrate.vi.monte_carlo_variational_loss
            return jnp.mean(loss(lambda z: f.log_joint(f.x_NxD, z), q, seed=key, **how))

        return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), repeats))

    def not_finite(distribution) -> float:
        own = distribution.log_prob(distribution.sample(20_000, seed=jax.random.key(1)))
        return float(jnp.mean(~jnp.isfinite(own)))

    def slope(a, key):
        return jax.grad(lambda a: tfd.Gamma(a, 1.0).sample(seed=key))(a)

    slopes = jax.vmap(slope, (None, 0))(0.01, jax.random.split(jax.random.key(2), 2000))
    return {
        "loss": losses(2000),
        "importance": losses(2000, importance_sample_size=10),
        "beta": not_finite(tfd.Beta(0.02, 0.02)),
        "relaxed": not_finite(tfd.RelaxedBernoulli(0.1, logits=2.0)),
        "gamma": jnp.mean(jnp.isnan(slopes)),
    }


if __name__ == "__main__":
    tell(PACKAGE, measured)
