"""The VAE example of Flax: the metrics that it prints, written anew."""

from benchmarks.packages.functions import in_jax
from benchmarks.packages.model import Model
from benchmarks.packages.record import Number, Package, Trap, Values, tell

PACKAGE = Package(
    name="flax_example",
    title="The VAE example of Flax",
    pins=("flax==0.12.8", "jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6"),
    about="""The example prints `loss`, `BCE` and `KLD` of the test images after each epoch, their means
over the images; `loss` is the sum of the two. The images are those of `binarized_mnist`, so that it is a
log-density.""",
    numbers=(
        Number(
            "loss",
            "eval epoch: ..., loss",
            "minus the ELBO, mean over the images, one sample of z each",
            "L[q]",
            -1.0,
            "bound from below, after the sign",
        ),
    ),
    traps=(
        Trap(
            "key",
            "Every epoch is evaluated with the same key, and so with the same noise: two evaluations of the"
            " same weights differ by "
            "{value:g}, and the spread of the printed numbers says nothing about their error.",
            0.0,
            0.0,
        ),
        Trap(
            "overflow",
            "Its cross-entropy takes the log of 1 - sigmoid(logit): in float32 it is not finite for a pixel"
            " that is 1 from a logit "
            "of {value:.0f} on. `optax.sigmoid_binary_cross_entropy` is finite.",
            80,
            110,
        ),
    ),
)


def measured(model: Model) -> Values:
    import jax
    import jax.numpy as jnp
    from flax import linen as nn

    f = in_jax(model)
    mu, log_var = f.encode(f.x_NxD)

    def cross_entropy(logits: jax.Array, x: jax.Array) -> jax.Array:
        log_p = nn.log_sigmoid(logits)
        return -jnp.sum(x * log_p + (1.0 - x) * jnp.log(-jnp.expm1(log_p)), -1)

    @jax.jit
    def printed(key: jax.Array) -> jax.Array:
        z = mu + jnp.exp(0.5 * log_var) * jax.random.normal(key, mu.shape)
        kl = -0.5 * jnp.sum(1.0 + log_var - mu**2 - jnp.exp(log_var), -1)
        return cross_entropy(f.logits(z), f.x_NxD).mean() + kl.mean()

    keys = jax.random.split(jax.random.key(0), 2000)
    logits = jnp.arange(1.0, 150.0)
    finite = jnp.isfinite(jax.jit(cross_entropy)(logits[:, None], jnp.ones((len(logits), 1))))
    return {
        "loss": [printed(key) for key in keys],
        "key": printed(keys[0]) - printed(keys[0]),
        "overflow": logits[jnp.argmin(finite)],
    }


if __name__ == "__main__":
    tell(PACKAGE, measured)
