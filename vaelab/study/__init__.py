"""Questions about the mathematics that need no trained model: each computes tables and draws a figure."""

from vaelab.study.family_cost import family_cost
from vaelab.study.full_covariance_kl import full_covariance_kl
from vaelab.study.gradient_variance import gradient_variance
from vaelab.study.reparameterization import reparameterization

__all__ = ["family_cost", "full_covariance_kl", "gradient_variance", "reparameterization"]
