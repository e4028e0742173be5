"""What does a larger decoder do to the gaps?

    python launch.py --config=experiments/decoder_capacity.py --workdir=runs/decoder_capacity

Digits, diagonal q; one model with each decoder, the encoder's layers alike; five seeds of each. () is an
affine decoder, under which the posterior is log-concave.

Measured on two CPU cores, beside other work, 468 s; 360 test images, nats, mean ± standard error over five
seeds:

    decoder        amortization gap   approximation gap   L[q_phi]           log p(x)
    affine         0.149 ± 0.005      0.355 ± 0.005       -26.211 ± 0.022    -25.707 ± 0.018
    10             0.107 ± 0.013      0.200 ± 0.014       -24.860 ± 0.044    -24.552 ± 0.049
    50             0.193 ± 0.005      0.272 ± 0.009       -23.916 ± 0.019    -23.450 ± 0.017
    200, 200       0.279 ± 0.009      0.286 ± 0.004       -23.433 ± 0.025    -22.868 ± 0.019
    400, 400, 400  0.320 ± 0.012      0.278 ± 0.006       -23.435 ± 0.020    -22.837 ± 0.015

A larger decoder has the larger amortization gap. With the affine one 636 of 1,800 fits are not below the
tolerance by the proved bound, which is a loose one there.

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
