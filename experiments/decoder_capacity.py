"""What does a larger decoder do to the gaps?

    python launch.py --config=experiments/decoder_capacity.py --workdir=runs/decoder_capacity

Digits, diagonal q; one model with each decoder, the encoder's layers alike; five seeds of each. () is an
affine decoder, under which the posterior is log-concave.

Variant: smoke.
"""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.sweep = defaults.sweep(
        ("model.hidden", ((), (10,), (50,), (200, 200), (400, 400, 400))), num_seeds=5
    )
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
