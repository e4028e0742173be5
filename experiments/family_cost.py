"""What does each posterior family cost in time and memory, as the latent dimension grows?

    python launch.py --config=experiments/family_cost.py --workdir=runs/family_cost

Measured on two CPU cores; milliseconds of a training step of 100 datapoints, the least of 20:

    family        K=2    K=32   K=128   K=256
    diagonal      2.4    2.5    2.9     3.5
    householder   2.7    2.7    3.5     4.8
    real_nvp      2.7    2.9    3.5     4.3
    iaf           2.6    2.7    3.6     4.5
    low_rank      2.5    3.4    4.8     7.3
    cholesky      2.7    3.3    18      66
    full          2.4    5.2    48      284

The state of training (parameters and two moments) is 7 to 10 MB at K = 256, but 85 with cholesky and 164 with
the full family, whose encoders have K (K + 1) / 2 and K^2 outputs for S.

Variant: smoke.
"""

from ml_collections import ConfigDict

from vaelab.config import defaults


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
