"""Question 2: with the full covariance, what is KL(q || p), and what does it cost?

    python launch.py --config=experiments/full_covariance_kl.py --workdir=runs/full_covariance_kl

Variant: smoke.
"""

from ml_collections import ConfigDict

from experiments import defaults


def get_config(variant: str = ""):
    config = ConfigDict()
    config.seed = 0
    config.study = ConfigDict()
    config.study.name = "full_covariance_kl"
    config.study.latent_dims = (2, 4, 8, 16, 32, 64, 128, 256)
    config.study.num_draws = 20_000
    config.study.batch_size = 100
    config.study.repeats = 10
    return defaults.apply_variant(config, variant, smoke=smoke)


def smoke(config):
    config.study.latent_dims = (2, 8)
    config.study.num_draws = 1000
