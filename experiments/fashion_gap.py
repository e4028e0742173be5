"""The study of mnist_gap.py on Fashion-MNIST, with the same settings.

    python launch.py --config=experiments/fashion_gap.py --workdir=runs/fashion_gap

Measured on two CPU cores, seed 0, on the first 1,000 test images, nats, mean ± standard error:

                          diagonal             full
    amortized L[q_phi]    -235.01 ± 2.40       -246.71 ± 2.42
    optimal L[q*]         -234.03 ± 2.39       -233.43 ± 2.39
    log p(x), lower bound -233.34 ± 2.39       -233.34 ± 2.39
    amortization gap      0.981 ± 0.023        13.28 ± 0.23
    approximation gap     0.6902 ± 0.0081      0.0850 ± 0.0020
    not converged         4                    7

With one thread, beside other work: training 95 s, refit 127 s, inference 29 s and 41 s, evidence 41 s.

Variant: smoke.
"""

from experiments import mnist_gap
from vaelab.config import defaults


def get_config(variant: str = ""):
    config = mnist_gap.get_config()
    config.data.name = "fashion_mnist"
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
