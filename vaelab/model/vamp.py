"""The variational mixture of posteriors as a prior (Tomczak & Welling 2018):

p(z) = 1/M sum_m q(z given u_m),        q the encoder's distribution, u_1 .. u_M learned pseudo-inputs
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vaelab.model.mixture import mixture_log_prob
from vaelab.model.prior import Prior
from vaelab.types import Array, Encoder, Key, Params, PosteriorFamily


class PseudoInputs(NamedTuple):
    """Where pseudo-inputs start, and what they are kept within.

    lower_D, upper_D: the range of x
    data_NxD: observed training examples, of which each run starts at M of its own; None for noise, uniform
        on the range
    """

    lower_D: Array
    upper_D: Array
    data_NxD: Array | None = None


def vamp(
    latent_dim: int,
    *,
    num_components: int,
    family: PosteriorFamily,
    encoder: Encoder,
    inputs: PseudoInputs,
) -> Prior:
    """The VampPrior, with parameters pseudo_inputs_MxD and phi_MxP, phi_m = encoder(psi, u_m).

    phi is no parameter of its own but a function of u and psi, which `tie` makes anew: in each training step
    before the bound, so that the prior's gradient reaches both, and after it, so that theta has the
    components of the encoder as it is. Local inference, evidence, and a run that is loaded take p(z) from phi
    alone: at the end of training it is a mixture that no encoder moves any more, one that is trained on this
    model least of all. family: a Gaussian one, whose q the encoder gives. Pseudo-inputs that a step has
    carried out of the range of x are put back on its edge; the gradient knows nothing of that.
    """
    M = num_components

    def init(key: Key) -> Params:
        if inputs.data_NxD is None:
            shape = (M, inputs.lower_D.size)
            part_MxD = jax.random.uniform(key, shape)
            u_MxD = inputs.lower_D[None, :] + (inputs.upper_D - inputs.lower_D)[None, :] * part_MxD
        else:
            u_MxD = inputs.data_NxD[jax.random.permutation(key, inputs.data_NxD.shape[0])[:M]]
        return {"pseudo_inputs_MxD": u_MxD, "phi_MxP": jnp.tile(family.init(), (M, 1))}

    def tie(params: Params, psi: Params) -> Params:
        u_MxD = params["pseudo_inputs_MxD"]
        kept_MxD = jnp.clip(u_MxD, inputs.lower_D[None, :], inputs.upper_D[None, :])
        u_MxD = u_MxD + jax.lax.stop_gradient(kept_MxD - u_MxD)
        phi_MxP = jax.vmap(lambda u_D: ravel_pytree(encoder.apply(psi, u_D))[0])(u_MxD)
        return {"pseudo_inputs_MxD": u_MxD, "phi_MxP": phi_MxP}

    of_scales = family.name == "diagonal"  # phi = [mean, log scale]

    def log_prob(params: Params, z_K: Array, *, expanded: bool = False) -> Array:
        phi_MxP, log_weight_M = params["phi_MxP"], jnp.full(M, -jnp.log(M))
        if of_scales:
            mean_MxK, log_scale_MxK = phi_MxP[:, :latent_dim], phi_MxP[:, latent_dim:]
            return mixture_log_prob(log_weight_M, mean_MxK, log_scale_MxK, z_K, expanded=expanded)
        log_q_M = jax.vmap(lambda phi_P: family.dist(phi_P).log_prob(z_K))(phi_MxP)
        return jax.nn.logsumexp(log_weight_M + log_q_M)

    def sample(params: Params, key: Key) -> Array:
        key_component, key_z = jax.random.split(key)
        phi_P = jnp.asarray(params["phi_MxP"])[jax.random.randint(key_component, (), 0, M)]
        return family.reparameterize(phi_P, jax.random.normal(key_z, (latent_dim,)))

    return Prior(
        name="vamp",
        init=init,
        log_prob=log_prob,
        sample=sample,
        tie=tie,
        fast_log_prob=partial(log_prob, expanded=True) if of_scales else None,
    )
