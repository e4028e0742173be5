"""Question 1: z = mu + sigma * eps and z = mu + S eps, which laws are these?

    python launch.py --config=experiments/reparameterization.py --workdir=runs/reparameterization

Variant: smoke.
"""

from ml_collections import ConfigDict

from experiments import defaults


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
