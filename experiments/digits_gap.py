"""How much of log p(x) does inference lose on 8x8 digits, and is it the encoder or the family?

    python launch.py --config=experiments/digits_gap.py --workdir=runs/digits_gap

Variants: smoke; gaussian, the same on grey values, with a mean and a variance for each pixel.

Measured on two CPU cores, seed 0, on the 360 test images, nats, mean ± standard error:

                          diagonal             full
    amortized L[q_phi]    -23.44 ± 0.19        -23.41 ± 0.20
    optimal L[q*]         -23.16 ± 0.19        -23.03 ± 0.19
    log p(x), lower bound -22.89 ± 0.19        -22.89 ± 0.19
    amortization gap      0.2735 ± 0.0088      0.373 ± 0.010
    approximation gap     0.2759 ± 0.0054      0.1458 ± 0.0025

64 s with nothing compiled before, 27 s the second time. With :gaussian (52 s): amortization gaps
4.88 ± 0.28 and 5.62 ± 0.26, approximation gaps 0.904 ± 0.015 and 0.2491 ± 0.0052.
"""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    return defaults.apply_variant(config, variant, smoke=defaults.shrink, gaussian=gaussian)


def gaussian(config):
    config.data.observation = "dequantize"
    config.model.likelihood.name = "gaussian"
