"""flowjax: its variational losses."""

from functools import partial

from benchmarks.packages.functions import in_jax
from benchmarks.packages.model import Model
from benchmarks.packages.record import Number, Package, Values, tell

PACKAGE = Package(
    name="flowjax",
    title="flowjax",
    pins=("flowjax==19.1.2", "jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6"),
    about="""`log_prob` of a flow is normalised, in nats, of a point of its event shape: no average is
taken. `fit_to_data` reports the mean over batches of minus log_prob, of the last batch too, however
small.""",
    numbers=(
        Number(
            "elbo",
            "ElboLoss(log_joint, num_samples=10)(params, static, key)",
            "minus the ELBO of a datapoint, mean over the samples",
            "L[q]",
            -1.0,
            "bound from below, after the sign",
        ),
        Number(
            "stl",
            "the same with stick_the_landing=True",
            "the same value: only the gradient differs",
            "L[q]",
            -1.0,
            "bound from below, after the sign",
        ),
    ),
    traps=(),
)


def measured(model: Model) -> Values:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from flowjax.distributions import Normal
    from flowjax.train.losses import ElboLoss

    f = in_jax(model)
    mu_NxK, log_var_NxK = f.encode(f.x_NxD)

    def mean(key, stick):
        def one(key, x, mu, log_var):
            params, static = eqx.partition(Normal(mu, jnp.exp(0.5 * log_var)), eqx.is_inexact_array)
            loss = ElboLoss(partial(f.log_joint, x), 10, stick_the_landing=stick)
            return loss(params, static, key)

        keys = jax.random.split(key, len(f.x_NxD))
        return jnp.mean(jax.vmap(one)(keys, f.x_NxD, mu_NxK, log_var_NxK))

    keys = jax.random.split(jax.random.key(0), 500)
    of_all = [jax.jit(jax.vmap(partial(mean, stick=stick)))(keys) for stick in (False, True)]
    return {"elbo": of_all[0], "stl": of_all[1]}


if __name__ == "__main__":
    tell(PACKAGE, measured)
