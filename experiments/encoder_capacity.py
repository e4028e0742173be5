"""Does a larger encoder close the amortization gap?

    python launch.py --config=experiments/encoder_capacity.py --workdir=runs/encoder_capacity

Digits, diagonal q; one model with each encoder, the decoder's layers alike; five seeds of each.

Variant: smoke.
"""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.sweep = defaults.sweep(
        ("encoder.hidden", ((), (10,), (50,), (200, 200), (400, 400, 400))), num_seeds=5
    )
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
