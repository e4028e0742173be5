"""How noisy is each estimator's gradient, at the optimum, near it and far from it?

    python launch.py --config=experiments/gradient_variance.py --workdir=runs/gradient_variance

Measured on two CPU cores, seed 0: total variance of the gradient of 8 draws in phi, full family, K = 5, from
10,000 gradients each (standard errors below 5%); d is L[q*] - L[q] in nats:

    d        elbo    from draws    stick-the-landing    iwae    dreg
    0        13.4    16.9          1e-12                16.9    2e-14
    0.001    13.3    16.8          0.019                17.2    0.00031
    0.1      13.0    16.7          2.0                  25.3    0.37
    1        17.4    22.9          24.4                 40.1    62
    10       91      121           643                  77      3401

At the optimum the two path derivatives have no variance but rounding; far from it they have the most. 50 s.

Variant: smoke.
"""

from ml_collections import ConfigDict

from vaelab.config import defaults


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
