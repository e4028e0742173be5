"""jax: samplers beside SciPy's."""

from benchmarks.packages.model import Model
from benchmarks.packages.record import Package, Trap, Values, tell

PACKAGE = Package(
    name="jax",
    title="jax",
    pins=("jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6", "scipy==1.17.1"),
    about="What a density of one's own, or its sampler, may be made of.",
    traps=(
        Trap(
            "truncated_values",
            "`jax.random.truncated_normal(key, 8, 12)` has {value:.0f} value in 10,000 samples, in float32.",
            1,
            1,
        ),
        Trap(
            "truncated_mean",
            "Its mean is {value:.4f}, where 8.1212 is right; in the lower tail, `-truncated_normal(key, "
            "-12, -8)`, it is the same. Take the "
            "inverse of the tail's logarithm, or rejection from an exponential.",
            11.9,
            12.0,
        ),
        Trap(
            "poisson",
            "`jax.random.poisson(key, 3e6)`: the variance of 200,000 samples is {value:.3f} of the rate, "
            "with an error of 0.003. It is right "
            "up to about 1e5. vaelab's counts are its own from 1e4 on.",
            0.88,
            0.94,
        ),
        Trap(
            "loggamma",
            "`jax.random.loggamma(key, 0.01)`: the mean of its gradient in a is {value:.2f} of d/da E[log "
            "x] = trigamma(a). So are those of "
            "`beta` and `dirichlet`. At 1 it is right. vaelab differentiates no Gamma sample of its own.",
            0.5,
            0.7,
        ),
    ),
)


def measured(model: Model) -> Values:
    import jax
    import jax.numpy as jnp
    import numpy as np
    from scipy import special

    del model
    samples = jax.random.truncated_normal(jax.random.key(0), 8.0, 12.0, (10_000,))
    flipped = -jax.random.truncated_normal(jax.random.key(0), -12.0, -8.0, (10_000,))

    counts = jax.jit(lambda key: jax.random.poisson(key, jnp.full(200_000, 3e6)))(jax.random.key(0))

    def slope(key):
        return jax.grad(lambda a: jax.random.loggamma(key, a))(0.01)

    slopes = jax.vmap(slope)(jax.random.split(jax.random.key(1), 20_000))
    return {
        "truncated_values": len(jnp.unique(samples)),
        "truncated_mean": min(samples.mean(), flipped.mean()),
        "poisson": np.var(np.float64(counts)) / 3e6,
        "loggamma": slopes.mean() / special.polygamma(1, 0.01),
    }


if __name__ == "__main__":
    tell(PACKAGE, measured)
