"""Question 1: z = mu + sigma * eps and z = mu + S eps, which distributions are these?

    python launch.py --config=experiments/reparameterization.py --workdir=runs/reparameterization

Each is Gaussian with covariance diag(sigma^2) and S S' (docs/derivations.md, section 1). Measured on two CPU
cores, seed 0, 100,000 draws in 4 dimensions: errors of the means and covariances in standard errors, the
largest of them, and the p-value of 20 random projections against the Gaussian claimed:

                           mean    covariance    p
    mu + sigma eps         0.5     2.1           1
    mu + S eps             2.7     1.8           0.93
    mu + S Q eps           1.3     1.0           1
    mu + S u, u uniform    0.8     1.4           1e-281

The last has the right moments and is not Gaussian, which only the projections see. S and S Q induce the same
correlations; a singular S leaves a distribution without a density: entropy -inf, KL inf. 47 s beside other
work.

Variant: smoke.
"""

from ml_collections import ConfigDict

from vaelab.config import defaults


def get_config(variant: str = ""):
    config = ConfigDict()
    config.seed = 0
    config.study = ConfigDict()
    config.study.name = "reparameterization"
    config.study.latent_dim = 4
    config.study.num_draws = 100_000
    config.study.num_projections = 20
    return defaults.apply_variant(config, variant, smoke=smoke)


def smoke(config):
    config.study.num_draws = 1000
