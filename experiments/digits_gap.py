"""How much of log p(x) does inference lose on 8x8 digits, and is it the encoder or the family?

    python launch.py --config=experiments/digits_gap.py --workdir=runs/digits_gap

Variants: smoke; gaussian, the same on grey values, with a mean and a variance for each pixel.

"""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    return defaults.apply_variant(config, variant, smoke=defaults.shrink, gaussian=gaussian)


def gaussian(config):
    config.data.observation = "dequantize"
    config.model.likelihood.name = "gaussian"
