"""Fashion."""

from experiments import defaults, mnist_gap


def get_config(variant: str = ""):
    config = mnist_gap.get_config()
    config.data.name = "fashion_mnist"
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
