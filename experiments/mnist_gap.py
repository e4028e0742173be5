"""MNIST."""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    config.data.name = "mnist"
    config.model.latent_dim = 50
    config.model.activation = config.encoder.activation = "elu"
    config.train.num_steps = 13750  # 25 epochs of 55,000
    config.train.chunk_size = 550
    config.train.evaluate_every = 2750
    config.train.checkpoint_every = 2750
    config.train.optimizer.update({"learning_rate": 2e-3, "schedule": "cosine", "warmup_steps": 550})
    config.refit.num_steps = 5500  # 10 epochs
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
