"""How do the gaps grow with the dimension of z?

    python launch.py --config=experiments/latent_dim.py --workdir=runs/latent_dim

Digits, diagonal q; five seeds of each.

Variant: smoke.
"""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.sweep = defaults.sweep(("model.latent_dim", (2, 5, 10, 20, 40)), num_seeds=5)
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
