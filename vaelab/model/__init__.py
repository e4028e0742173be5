"""Latent-variable models p(x, z) = p(x given z) p(z): priors, likelihoods, networks, and closed forms."""

from vaelab.model.latent import bind, decoder_model, simulate
from vaelab.model.linear_gaussian import (
    LinearGaussianParams,
    linear_gaussian,
    linear_gaussian_elbo,
    linear_gaussian_log_evidence,
    linear_gaussian_mean_field,
    linear_gaussian_posterior,
)
from vaelab.model.prior import standard_normal_log_prob

__all__ = [
    "LinearGaussianParams",
    "bind",
    "decoder_model",
    "linear_gaussian",
    "linear_gaussian_elbo",
    "linear_gaussian_log_evidence",
    "linear_gaussian_mean_field",
    "linear_gaussian_posterior",
    "simulate",
    "standard_normal_log_prob",
]
