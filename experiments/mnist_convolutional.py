"""The study of mnist_gap.py with convolutional networks: is the amortization gap the MLP's doing?

    python launch.py --config=experiments/mnist_convolutional.py --workdir=runs/mnist_convolutional

Two layers of stride 2 (32 and 64 channels) and one dense layer of 256 units each way, K = 50, 10 epochs.

Variant: smoke.
"""

from experiments import defaults, mnist_gap


def get_config(variant: str = ""):
    config = mnist_gap.get_config()
    for network in (config.model, config.encoder):
        network.network = "convolutional"
        network.channels = (32, 64)
        network.hidden = (256,)
    config.train.num_steps = 5500  # 10 epochs
    config.refit.num_steps = 0
    config.evaluate.max_points = 200
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
