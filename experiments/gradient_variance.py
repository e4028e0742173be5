"""How noisy is each estimator's gradient, at the optimum, near it and far from it?

    python launch.py --config=experiments/gradient_variance.py --workdir=runs/gradient_variance

Measured on two CPU cores, seed 0: total variance of the gradient of 8 draws in phi, full family, K = 5, from
10,000 gradients each (standard errors below 5%); d is L[q*] - L[q] in nats:

    d        elbo    from draws    stick-the-landing    iwae    dreg
    0        12.0    16.8          3e-13                16.8    5e-15
    0.001    12.1    16.9          0.015                16.8    0.00024
    0.1      13.1    18.3          1.5                  22.1    0.16
    1        21.0    28.6          14.7                 39.8    19.5
    10       95      127           168                  117     474

At the optimum the two path derivatives have no variance but rounding; far from it they have the most. 50 s.

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
