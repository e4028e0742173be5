"""The ELBO and bounds made of it, for one datapoint; nats, higher is better."""

import jax
import jax.numpy as jnp

from vaelab.model.prior import standard_normal_log_prob
from vaelab.objective.draws import log_weight, mean_over_draws, standard_draws
from vaelab.types import Array, Key, LogJoint, LogPrior, PosteriorFamily


def elbo(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_samples: int,
    antithetic: bool = False,
) -> Array:
    """mean_s [log p(x, z_s) - log N(z_s; 0, I)] - KL(q || N(0, I)), the KL in closed form.

    Unbiased for L[q] whatever the prior, since E_q[log N(z; 0, I) - log q] = -KL(q || N(0, I)); with
    the prior N(0, I) the bracket is log p(x given z). (Kingma & Welling 2014, eq. 7.)
    """

    def term(eps_K: Array) -> Array:
        z_K = family.reparameterize(phi_P, eps_K)
        return log_joint(z_K) - standard_normal_log_prob(z_K)

    eps_SxK = standard_draws(key, num_samples, family.latent_dim, antithetic=antithetic)
    return mean_over_draws(term, eps_SxK) - family.kl_to_prior(phi_P)


def beta_elbo(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_samples: int,
    antithetic: bool = False,
    beta: float | Array,
    log_prior: LogPrior | None = None,
) -> Array:
    """mean_s [log p(x, z_s) - log N(z_s; 0, I)] - beta KL(q || N(0, I)), the KL from the draws if it must be.

    For beta >= 1 below the ELBO, so a lower bound on log p(x); for beta < 1, as in a warm-up of the KL, it
    bounds nothing. (Higgins et al. 2017, eq. 4; warm-up: Bowman et al. 2016, Soenderby et al. 2016.)
    log_prior: of a prior p(z) other than N(0, I), whose KL(q || p) = KL(q || N(0, I)) + E_q[log N(z; 0, I) -
    log p(z)] is what beta weighs, the second part from the draws.
    """
    if family.kl_to_prior is not None:
        bound = elbo(log_joint, family, phi_P, key, num_samples=num_samples, antithetic=antithetic)
        bound += (1.0 - beta) * family.kl_to_prior(phi_P)
        if log_prior is None:
            return bound

        def excess(eps_K: Array) -> Array:
            z_K = family.reparameterize(phi_P, eps_K)
            return standard_normal_log_prob(z_K) - log_prior(z_K)

        eps_SxK = standard_draws(key, num_samples, family.latent_dim, antithetic=antithetic)
        return bound + (1.0 - beta) * mean_over_draws(excess, eps_SxK)

    def term(eps_K: Array) -> Array:
        z_K, log_q = family.sample_and_log_prob(phi_P, eps_K)
        log_p = standard_normal_log_prob(z_K) if log_prior is None else log_prior(z_K)
        return log_joint(z_K) - log_p - beta * (log_q - log_p)

    eps_SxK = standard_draws(key, num_samples, family.latent_dim, antithetic=antithetic)
    return mean_over_draws(term, eps_SxK)


def free_bits(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_samples: int,
    antithetic: bool = False,
    min_kl: float,
) -> Array:
    """mean_s [log p(x, z_s) - log N(z_s; 0, I)] - max(min_kl, KL(q || N(0, I))), min_kl in nats a datapoint.

    For the prior N(0, I), whose KL has a closed form: the maximum of one from draws would be too high.

    Never above the ELBO, so a lower bound on log p(x); a KL below min_kl has no gradient. (Kingma et al.
    2016, appendix C.8, with all of z as one group, and the maximum taken for each datapoint.)
    """
    kl = family.kl_to_prior(phi_P)
    bound = elbo(log_joint, family, phi_P, key, num_samples=num_samples, antithetic=antithetic)
    return bound + kl - jnp.maximum(kl, min_kl)


def elbo_from_draws(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_samples: int,
    antithetic: bool = False,
) -> Array:
    """mean_s log w_s: unbiased for L[q], with zero variance where q is the exact posterior.

    (Kingma & Welling 2014, eq. 6.)
    """
    eps_SxK = standard_draws(key, num_samples, family.latent_dim, antithetic=antithetic)
    return mean_over_draws(log_weight(log_joint, family, phi_P, phi_P), eps_SxK)


def stick_the_landing(
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    num_samples: int,
    antithetic: bool = False,
    density_phi_P: Array | None = None,
) -> Array:
    """The value of `elbo_from_draws`; its gradient leaves out the score of q.

    phi is held fixed in log q, so the gradient is that through z_s alone: the left-out term
    E_q[grad_phi log q(z)] is 0, and the rest is exactly zero, draw by draw, where q is the posterior.
    (Roeder, Wu & Duvenaud 2017, eq. 8.) Who differentiates that gradient once more gives log q another phi,
    density_phi_P of the same value: held fixed by a stop, a part of the derivative would be lost.
    """
    held_P = jax.lax.stop_gradient(phi_P) if density_phi_P is None else density_phi_P
    eps_SxK = standard_draws(key, num_samples, family.latent_dim, antithetic=antithetic)
    return mean_over_draws(log_weight(log_joint, family, phi_P, held_P), eps_SxK)
