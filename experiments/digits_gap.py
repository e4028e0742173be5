"""Amortization gap of a VAE on scikit-learn's 8x8 digits."""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
