"""Fashion-MNIST."""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    config.data.name = "fashion_mnist"
    config.model.latent_dim = 50
    config.train.num_steps = 13750  # 25 epochs of 55,000
    config.train.chunk_size = 550
    config.train.evaluate_every = 2750
    config.train.checkpoint_every = 2750
    config.refit.num_steps = 5500
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
