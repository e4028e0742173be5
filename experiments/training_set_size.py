"""How do the gaps on training and on new data change with the size of the training set?

    python launch.py --config=experiments/training_set_size.py --workdir=runs/training_set_size

Digits, diagonal q, the same number of steps for each size; five seeds of each.

Variant: smoke.
"""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.sweep = defaults.sweep(("data.num_train", (100, 200, 400, 800, 0)), num_seeds=5)
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
