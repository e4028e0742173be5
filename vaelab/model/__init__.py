"""Latent-variable models p(x, z) = p(x given z) p(z): priors, likelihoods, networks, and closed forms."""

import math
from collections.abc import Callable
from typing import NamedTuple

from vaelab.model import convolutional, networks
from vaelab.model.autoregressive import autoregressive
from vaelab.model.bounded import beta, clipped_gaussian, continuous_bernoulli
from vaelab.model.condition import Condition, conditioned, with_library_size
from vaelab.model.counts import LARGEST_COUNT, negative_binomial, poisson, zero_inflated_negative_binomial
from vaelab.model.flow_prior import flow_prior
from vaelab.model.hierarchy import hierarchy
from vaelab.model.latent import bind, decoder_model, first_level, in_training, simulate, with_prior
from vaelab.model.levels import categorical, ordinal
from vaelab.model.likelihood import (
    Likelihood,
    bernoulli,
    discretized_logistic,
    discretized_logistic_mixture,
    gaussian,
    gaussian_one_variance,
    student_t,
)
from vaelab.model.linear_gaussian import (
    LinearGaussianParams,
    linear_gaussian,
    linear_gaussian_elbo,
    linear_gaussian_log_evidence,
    linear_gaussian_mean_field,
    linear_gaussian_posterior,
)
from vaelab.model.linear_gaussian_hierarchy import linear_gaussian_hierarchy
from vaelab.model.mixture import mixture
from vaelab.model.mixture_linear_gaussian import (
    mixture_linear_gaussian,
    mixture_linear_gaussian_bounds,
    mixture_linear_gaussian_log_evidence,
    mixture_linear_gaussian_posterior,
)
from vaelab.model.prior import Prior, standard_normal, standard_normal_log_prob
from vaelab.model.vamp import vamp
from vaelab.types import Network


class LikelihoodEntry(NamedTuple):
    """A likelihood by its name.

    make(levels, **settings) -> Likelihood, levels the number of values that a dimension of the data has.
    observation: the config.data.observation whose x it is a density of.
    real: whether it is one of real-valued data as they are too, whose observation is identity.
    support: what these must be: "unit", from 0 to 1, or "counts", whole and from 0 to 2^24; None for any.
    settings: the numbers of config.model.likelihood that make takes, all above 0.
    sizes: the integers of it that make takes, all 1 or more.
    """

    make: Callable[..., Likelihood]
    observation: str
    real: bool = False
    support: str | None = None
    settings: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()


class NetworkEntry(NamedTuple):
    """A kind of network by its name; image_shape is that of x, layers are `networks.Layers`.

    encoder(image_shape, layers, phi_init_P, *, activation, output_scale) -> Network
    decoder(latent_dim, image_shape, layers, outputs_per_dim, *, activation) -> Network
    problem(image_shape, layers) -> (setting, what is wrong with it); None where nothing is
    affine_without_hidden: whether a decoder with hidden = () is affine in z
    """

    encoder: Callable[..., Network]
    decoder: Callable[..., Network]
    problem: Callable[..., tuple[str, str] | None]
    affine_without_hidden: bool = False


LIKELIHOODS: dict[str, LikelihoodEntry] = {
    "bernoulli": LikelihoodEntry(lambda levels: bernoulli(), "binarize"),
    "gaussian": LikelihoodEntry(
        lambda levels, **settings: gaussian(**settings), "dequantize", real=True, settings=("min_variance",)
    ),
    "gaussian_one_variance": LikelihoodEntry(
        lambda levels, **settings: gaussian_one_variance(**settings),
        "dequantize",
        real=True,
        settings=("min_variance",),
    ),
    "student_t": LikelihoodEntry(
        lambda levels, **settings: student_t(**settings),
        "dequantize",
        real=True,
        settings=("min_variance", "degrees_of_freedom"),
    ),
    "discretized_logistic": LikelihoodEntry(lambda levels: discretized_logistic(levels=levels), "rescale"),
    "discretized_logistic_mixture": LikelihoodEntry(
        lambda levels, num_components: discretized_logistic_mixture(
            levels=levels, num_components=num_components
        ),
        "rescale",
        sizes=("num_components",),
    ),
    "categorical": LikelihoodEntry(lambda levels: categorical(levels=levels), "rescale"),
    "ordinal": LikelihoodEntry(lambda levels: ordinal(levels=levels), "rescale"),
    "continuous_bernoulli": LikelihoodEntry(
        lambda levels: continuous_bernoulli(), "rescale", real=True, support="unit"
    ),
    "beta": LikelihoodEntry(lambda levels: beta(), "dequantize", real=True, support="unit"),
    "clipped_gaussian": LikelihoodEntry(
        lambda levels, **settings: clipped_gaussian(**settings),
        "rescale",
        real=True,
        support="unit",
        settings=("min_variance",),
    ),
    "poisson": LikelihoodEntry(lambda levels: poisson(), "identity", real=True, support="counts"),
    "negative_binomial": LikelihoodEntry(
        lambda levels: negative_binomial(), "identity", real=True, support="counts"
    ),
    "zero_inflated_negative_binomial": LikelihoodEntry(
        lambda levels: zero_inflated_negative_binomial(), "identity", real=True, support="counts"
    ),
}

NETWORKS: dict[str, NetworkEntry] = {
    "mlp": NetworkEntry(
        encoder=lambda shape, layers, phi_init_P, **rest: networks.mlp_encoder(
            math.prod(shape), layers.hidden, phi_init_P, **rest
        ),
        decoder=lambda latent_dim, shape, layers, outputs_per_dim, **rest: networks.mlp_decoder(
            latent_dim, layers.hidden, outputs_per_dim * math.prod(shape), **rest
        ),
        problem=networks.mlp_problem,
        affine_without_hidden=True,
    ),
    "convolutional": NetworkEntry(
        encoder=convolutional.convolutional_encoder,
        decoder=convolutional.convolutional_decoder,
        problem=convolutional.convolutional_problem,
    ),
}


class PriorEntry(NamedTuple):
    """A prior by its name.

    make(latent_dim, **sizes) -> Prior
    sizes: the integers of config.model.prior that make takes, all 1 or more.
    is_flow: whether make takes family=, the flow that config.model.prior.flow names.
    of_encoder: whether make takes family=, encoder= and inputs=, the trained family with its encoder and a
        `PseudoInputs` of num_components training examples or more.
    min_latent_dim: the fewest latent dimensions that it is for.
    of_levels: whether make takes levels=, the dimensions of each level of z.
    """

    make: Callable[..., Prior]
    sizes: tuple[str, ...] = ()
    is_flow: bool = False
    of_encoder: bool = False
    min_latent_dim: int = 1
    of_levels: bool = False


PRIORS: dict[str, PriorEntry] = {
    "standard_normal": PriorEntry(standard_normal),
    "mixture": PriorEntry(mixture, ("num_components",)),
    "vamp": PriorEntry(vamp, ("num_components",), of_encoder=True),
    "flow": PriorEntry(flow_prior, is_flow=True, min_latent_dim=2),
    "autoregressive": PriorEntry(autoregressive, ("hidden", "num_gaussians")),
    "hierarchy": PriorEntry(hierarchy, ("hidden",), of_levels=True),
}

__all__ = [
    "LARGEST_COUNT",
    "LIKELIHOODS",
    "NETWORKS",
    "PRIORS",
    "Condition",
    "Likelihood",
    "LikelihoodEntry",
    "LinearGaussianParams",
    "NetworkEntry",
    "Prior",
    "PriorEntry",
    "bind",
    "conditioned",
    "decoder_model",
    "first_level",
    "in_training",
    "linear_gaussian",
    "linear_gaussian_elbo",
    "linear_gaussian_hierarchy",
    "linear_gaussian_log_evidence",
    "linear_gaussian_mean_field",
    "linear_gaussian_posterior",
    "mixture_linear_gaussian",
    "mixture_linear_gaussian_bounds",
    "mixture_linear_gaussian_log_evidence",
    "mixture_linear_gaussian_posterior",
    "simulate",
    "standard_normal_log_prob",
    "with_library_size",
    "with_prior",
]
