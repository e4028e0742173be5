"""How noisy is each estimator's gradient, at the optimum, near it and far from it?

    python launch.py --config=experiments/gradient_variance.py --workdir=runs/gradient_variance

Variant: smoke.
"""

from ml_collections import ConfigDict

from experiments import defaults


def get_config(variant: str = ""):
    config = ConfigDict()
    config.seed = 0
    config.study = ConfigDict()
    config.study.name = "gradient_variance"
    config.study.singular_values = (3.0, 2.0, 1.0, 0.5, 0.1)  # of the linear-Gaussian model's W
    config.study.distances = (0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0)  # nats
    config.study.num_samples = 8
    config.study.repeats = 10_000
    return defaults.apply_variant(config, variant, smoke=smoke)


def smoke(config):
    config.study.repeats = 100
