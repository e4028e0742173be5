"""How much does inference lose on colour, and how many bits does a number of a photograph take?

    python launch.py --config=experiments/photo_patches.py --workdir=runs/photo_patches

Variant: smoke.
"""

from vaelab.config import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    config.data.name = "photo_patches"
    config.data.observation = "rescale"
    config.model.likelihood.name = "discretized_logistic"
    config.model.latent_dim = 8
    for network in (config.model, config.encoder):
        network.network = "convolutional"
        network.channels = (16, 32)
        network.hidden = (64,)
        network.activation = "elu"
    config.train.num_steps = 3000
    config.train.optimizer.update({"learning_rate": 2e-3, "schedule": "cosine"})
    config.refit.num_steps = 0
    config.evaluate.max_points = 200
    config.inference.modes.pilot_points = 2
    return defaults.apply_variant(config, variant, smoke=smoke)


def smoke(config):
    defaults.shrink(config)
    for network in (config.model, config.encoder):
        network.channels = (4, 8)
        network.hidden = (16,)
