"""What does each posterior family cost in time and memory, as the latent dimension grows?

    python launch.py --config=experiments/family_cost.py --workdir=runs/family_cost

Variant: smoke.
"""

from ml_collections import ConfigDict

from experiments import defaults


def get_config(variant: str = ""):
    config = ConfigDict()
    config.seed = 0
    config.study = ConfigDict()
    config.study.name = "family_cost"
    config.study.families = ("diagonal", "low_rank", "householder", "cholesky", "full", "real_nvp", "iaf")
    config.study.latent_dims = (2, 8, 32, 64, 128, 256)
    config.study.repeats = 20
    config.study.batch_size = 100
    config.study.data_dim = 784
    config.study.hidden = 200  # units in each of the two hidden layers of encoder and decoder
    config.study.rank = 5  # of low_rank, and householder's reflections
    config.study.num_layers = 2  # of the flows
    config.study.flow_hidden = 64
    return defaults.apply_variant(config, variant, smoke=smoke)


def smoke(config):
    config.study.families = ("diagonal", "real_nvp")
    config.study.latent_dims = (2,)
    config.study.repeats = 1
    config.study.data_dim = 16
    config.study.hidden = 8
