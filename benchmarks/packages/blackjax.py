"""BlackJAX: variational inference, sequential Monte Carlo, and smoothed weights."""

from benchmarks.packages.functions import in_jax
from benchmarks.packages.model import Model
from benchmarks.packages.record import Number, Package, Trap, Values, tell

PARTICLES = 2000


PACKAGE = Package(
    name="blackjax",
    title="BlackJAX",
    pins=("blackjax==1.7.1", "jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6"),
    about="""Its functions take an unnormalised log-density of one datapoint, log p(x, z), and what is
called an ELBO is one only if every constant is in it.""",
    numbers=(
        Number(
            "meanfield",
            "meanfield_vi.step(...)[1].elbo",
            "minus the ELBO of a datapoint at the parameters before the step, mean over the samples",
            "L[q]",
            -1.0,
            "bound from below, after the sign",
        ),
        Number(
            "smc",
            "the sum of tempered SMC's log_likelihood_increment",
            "log p(x) of a datapoint, prior to posterior",
            "log p(x)",
            1.0,
            "its exponential is unbiased, and it is low itself",
            "smc_bias",
            "log of an unbiased estimate is low by half its relative variance, here that of 20 repeats",
        ),
    ),
    traps=(
        Trap(
            "psis",
            "`psis_weights` of log weights that spread over 200 nats has a Pareto k that is NaN at "
            "{value:.0%} of 20 such sets, so that a "
            "test `k > 0.7` passes where it should fail. vaelab counts a k that is not finite as over 0.7.",
            0.5,
            1.0,
        ),
    ),
)


def measured(model: Model) -> Values:
    import blackjax
    import jax
    import jax.numpy as jnp
    import optax

    f = in_jax(model)
    mu_NxK, log_var_NxK = f.encode(f.x_NxD)

    def meanfield(key, x, mu, log_var):
        algorithm = blackjax.meanfield_vi(lambda z: f.log_joint(x, z), optax.sgd(0.0), num_samples=10)
        state = algorithm.init(mu)._replace(mu=mu, rho=0.5 * log_var)
        return algorithm.step(key, state)[1].elbo

    def of_all(one, repeats):
        """[repeats, N]"""

        def each(key):
            keys = jax.random.split(key, len(f.x_NxD))
            return jax.vmap(one)(keys, f.x_NxD, mu_NxK, log_var_NxK)

        return jax.jit(lambda keys: jax.lax.map(each, keys))(jax.random.split(jax.random.key(0), repeats))

    log_z_RxN = of_all(_smc(f), 20)
    return {
        "meanfield": of_all(meanfield, 500).mean(1),
        "smc": log_z_RxN.mean(1),
        "smc_bias": -0.5 * jnp.var(log_z_RxN, axis=0, ddof=1).mean(),
        "psis": _psis(),
    }


def _smc(f):
    import blackjax
    import jax
    import jax.numpy as jnp
    from blackjax.mcmc.random_walk import build_additive_step
    from blackjax.smc import resampling

    kernel = build_additive_step()

    def one(key, x, mu, log_var):
        del mu, log_var
        key_prior, key = jax.random.split(key)

        def log_prior(z):
            return jnp.sum(jax.scipy.stats.norm.logpdf(z))

        algorithm = blackjax.tempered_smc(
            log_prior,
            lambda z: f.log_joint(x, z) - log_prior(z),
            lambda key, state, density: kernel(
                key, state, density, lambda key, z: 0.7 * jax.random.normal(key, z.shape)
            ),
            blackjax.additive_step_random_walk.init,
            {},
            resampling.systematic,
            num_mcmc_steps=5,
        )
        state = algorithm.init(jax.random.normal(key_prior, (PARTICLES, 2)))

        def step(state, given):
            key, power = given
            state, info = algorithm.step(key, state, power)
            return state, info.log_likelihood_increment

        powers = jnp.linspace(0.0, 1.0, 9)[1:]
        return jnp.sum(jax.lax.scan(step, state, (jax.random.split(key, len(powers)), powers))[1])

    return one


def _psis() -> float:
    import jax
    import jax.numpy as jnp
    from blackjax.diagnostics import psis_weights

    keys = jax.random.split(jax.random.key(5), 20)
    sets = [200.0 * jax.random.normal(key, (1000,)) for key in keys]
    return float(jnp.mean(jnp.array([jnp.isnan(psis_weights(log_w)[1]) for log_w in sets])))


if __name__ == "__main__":
    tell(PACKAGE, measured)
