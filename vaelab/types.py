"""The types that everything composes through.

Shape suffixes, used in every name that holds an array:

    B  batch                    D  dimension of x
    N  datapoints               K  dimension of z
    S  draws                    P  size of one variational parameter vector phi
    T  steps                    Q  size of the decoder's output for one datapoint

Symbols: theta are the parameters of the model (decoder), psi those of the encoder, phi those of one
datapoint's q(z). Every log-density and bound is in nats and for one datapoint.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

if TYPE_CHECKING:
    import distrax

Array = jax.Array
Key = jax.Array  # a typed key, from jax.random.key
Params = Any  # a pytree of arrays

LogJoint = Callable[[Array], Array]
"""z_K -> []: log p(x, z) with x and theta bound."""

LogPrior = Callable[[Array], Array]
"""z_K -> []: log p(z) with theta bound."""


class Network(NamedTuple):
    """A function of one datapoint with parameters.

    init(key) -> params
    apply(params, input) -> output
    """

    init: Callable[[Key], Params]
    apply: Callable[[Params, Array], Array]


Encoder = Network
"""`apply(psi, x_D) -> phi_P`, or `SharedPhi` for a flow: the amortized choice of variational parameters."""


class SharedPhi(NamedTuple):
    """phi_P in two parts, the second the same for every datapoint of an encoder: a flow's weights.

    Kept apart, a vmap over datapoints does not copy the second part, and products with it stay large.
    A family with a `shared_size` takes this instead of phi_P; `ravel_pytree` makes phi_P of it.
    """

    local_P: Array
    shared_R: Array


class Exact(NamedTuple):
    """Closed forms of a model whose posterior is Gaussian; the oracle of tests and reports.

    log_evidence(theta, x_D) -> []                       log p(x)
    posterior(theta, x_D) -> (mean_K, precision_KxK)     p(z given x) = N(mean, precision^-1)
    elbo(theta, x_D, mean_K, scale_KxK) -> []            L[N(mean, scale scale')]
    """

    log_evidence: Callable[[Params, Array], Array]
    posterior: Callable[[Params, Array], tuple[Array, Array]]
    elbo: Callable[[Params, Array, Array, Array], Array]


class Given(NamedTuple):
    """What a model of x given y has beside: a datapoint of it is the row [x_D, y_C].

    kind                                      label, y one-hot; library_size, y the log of a total
    data_dim, size                            D and C
    mean(theta, z_K, y_C) -> x_D              E[x given z, y]
    sample(theta, key, z_K, y_C) -> x_D       x ~ p(x given z, y)
    weight_M                                  how often each y is drawn with x: of labels, one for each class,
                                              0 of one that no training example has
    """

    kind: str
    data_dim: int
    size: int
    mean: Callable[[Params, Array, Array], Array]
    sample: Callable[[Params, Key, Array, Array], Array]
    weight_M: tuple[float, ...] = ()


class LatentModel(NamedTuple):
    """p(x, z) = p(x given z) p(z), log-densities in nats.

    latent_dim                                 K, the dimension of z
    init(key) -> theta                         the parameters at the start
    log_prior(theta, z_K) -> []                log p(z)
    log_likelihood(theta, x_D, z_K) -> []      log p(x given z)
    mean(theta, z_K) -> x_D                    E[x given z]; None where it is not known, for a user's density
    sample(theta, key, z_K) -> x_D             x ~ p(x given z); None likewise
    concavity(theta, x_D) -> C_KxK             positive definite, with -Hessian of log p(x, z) in z >= C at
                                               every z; None where log p(x, z) is not known to be concave
    exact                                      closed forms of a model whose posterior is Gaussian, or None
    sample_prior(theta, key) -> z_K            z ~ p(z); None where it is not known how
    prior                                      the name of p(z), as PRIORS has it; None where it is not known
    tie(theta, psi) -> theta                   theta with those of its numbers that are functions of an
                                               encoder's parameters psi, as a VampPrior's components; None
                                               where none is
    fast_log_prior(theta, z_K) -> []           log_prior with fewer digits in less time, for training alone;
                                               None for itself
    levels                                     of a hierarchy, how many dimensions each level of z has, the
                                               one next to x first; () where z is one level
    log_prior_of_levels(theta, z_K) -> [L]     the parts of its log_prior, log p(z_l given z_{l+1}); or None
    given                                      of a model of x given y, whose x_D here are rows [x_D, y_C] and
                                               whose `sample` draws y too, or is None where a
                                               loaded run has no y to draw; else None
    """

    latent_dim: int
    init: Callable[[Key], Params]
    log_prior: Callable[[Params, Array], Array]
    log_likelihood: Callable[[Params, Array, Array], Array]
    mean: Callable[[Params, Array], Array] | None
    sample: Callable[[Params, Key, Array], Array] | None
    concavity: Callable[[Params, Array], Array] | None = None
    exact: Exact | None = None
    sample_prior: Callable[[Params, Key], Array] | None = None
    prior: str | None = None
    tie: Callable[[Params, Params], Params] | None = None
    fast_log_prior: Callable[[Params, Array], Array] | None = None
    levels: tuple[int, ...] = ()
    log_prior_of_levels: Callable[[Params, Array], Array] | None = None
    given: Given | None = None


class GaussianGeometry(NamedTuple):
    """What a family of Gaussian distributions has beside its density; phi_P[:K] is its mean.

    location_scale(phi_P) -> (mu_K, S_KxK)       q = N(mu, S S')
    natural_gradient(phi_P, grad_P) -> P         F^+ grad, F the Fisher information of q in phi and F^+ a
                                                 symmetric generalised inverse of it, exactly or, without a
                                                 closed form, nearly; None where there is neither
    certifiable                                  whether F is the curvature of the bound at the optimum of a
                                                 Gaussian posterior, so that 1/2 g' F^+ g tells how far it is
    dual_gradient(phi_P, grad_P, C_KxK) -> w_R   the gradient in (mu, S), S diagonal or triangular, with ||w||
                                                 its length under C^-1: see `certificate`; or None
    project(mu_K, S_KxK) -> phi_P                argmin over the family of KL(q || N(mu, S S')); None where it
                                                 has no closed form
    longest_step                                 a natural-gradient step d of sqrt(d' F d) below this stays in
                                                 the family; infinite where every step does
    searched_as                                  a family of the same distributions in coordinates that suit
                                                 the inner loop better; None for this one
    axes(phi_P) -> sd_K                          the diagonal of S where S is diagonal, so that no K x K
                                                 matrix need be formed; None for other families
    natural_path(phi_P, eps_SxK, grad_SxK)       (d, d' F d), d the natural gradient of stick-the-landing at
                                                 z_s = mu + S eps_s, grad_s that of log p(x, z) there; no S is
                                                 inverted. None where that is not known
    """

    location_scale: Callable[[Array], tuple[Array, Array]]
    natural_gradient: Callable[[Array, Array], Array] | None = None
    certifiable: bool = False
    dual_gradient: Callable[[Array, Array, Array], Array] | None = None
    project: Callable[[Array, Array], Array] | None = None
    longest_step: float = math.inf
    searched_as: "PosteriorFamily | None" = None
    axes: Callable[[Array], Array] | None = None
    natural_path: Callable[[Array, Array, Array], tuple[Array, Array]] | None = None


class PosteriorFamily(NamedTuple):
    """A parametric family of distributions q(z), one member for each flat vector phi_P; densities in nats.

    name                                               the name in FAMILIES
    latent_dim, param_size                             K, and P, the size of phi
    init() -> phi_P                                    the member equal to N(0, I), but of top_down, where
                                                       the messages are N(0, 1)
    reparameterize(phi_P, eps_K) -> z_K                z ~ q when eps ~ N(0, I); differentiable in phi
    sample_and_log_prob(phi_P, eps_K) -> (z_K, log q)  z and its own density in one pass
    dist(phi_P) -> distrax distribution                q itself, built where it is used
    kl_to_prior(phi_P) -> []                           KL(q || N(0, I)) in closed form; None if there is none
    near(mu_K, S_KxK) -> phi_P                         a member near N(mu, S S'), where the inner loop begins;
                                                       see `posterior.project.near`; None where there is none
    score_of_draw(phi_P, eps_K) -> g_K                 grad_z log q(z) at z = reparameterize(phi, eps), where
                                                       that takes less than dist(phi_P).log_prob at z; else
                                                       None
    shared_size                                        how many numbers, the last of phi, all datapoints of
                                                       an encoder have in common (a flow's weights)
    shared_of(theta) -> shared_R                       these, where they are numbers of the model and no
                                                       encoder's; else None
    log_q_of_levels(phi_P, eps_K) -> (z_K, log q_L)    z, and the parts of its log q by level of a z of
                                                       levels, where q is a chain from the top down; or None
    gaussian                                           the geometry of a Gaussian family; None for a flow
    """

    name: str
    latent_dim: int
    param_size: int
    init: Callable[[], Array]
    reparameterize: Callable[[Array, Array], Array]
    sample_and_log_prob: Callable[[Array, Array], tuple[Array, Array]]
    dist: "Callable[[Array], distrax.Distribution]"
    shared_size: int = 0
    kl_to_prior: Callable[[Array], Array] | None = None
    near: Callable[[Array, Array], Array] | None = None
    score_of_draw: Callable[[Array, Array], Array] | None = None
    gaussian: "GaussianGeometry | None" = None
    shared_of: Callable[[Params], Array] | None = None
    log_q_of_levels: Callable[[Array, Array], tuple[Array, Array]] | None = None


Objective = Callable[[LogJoint, PosteriorFamily, Array, Key], Array]
"""(log_joint, family, phi_P, key) -> []: a lower bound in nats, or a surrogate with its gradient."""
