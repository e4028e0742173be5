"""What does a larger decoder do to the gaps?

    python launch.py --config=experiments/decoder_capacity.py --workdir=runs/decoder_capacity

Digits, diagonal q; one model with each decoder, the encoder's layers alike; five seeds of each. () is an
affine decoder, under which the posterior is log-concave.

Measured on two CPU cores, beside other work, 382 s; 360 test images, nats, mean ± standard error over five
seeds:

    decoder         amortization gap   approximation gap   L[q_phi]           log p(x)
    affine          0.149 ± 0.005      0.355 ± 0.006       -26.211 ± 0.022    -25.706 ± 0.018
    10              0.107 ± 0.013      0.200 ± 0.014       -24.860 ± 0.044    -24.553 ± 0.048
    50              0.193 ± 0.005      0.271 ± 0.009       -23.916 ± 0.019    -23.451 ± 0.017
    200, 200        0.279 ± 0.009      0.284 ± 0.005       -23.433 ± 0.025    -22.870 ± 0.019
    400, 400, 400   0.320 ± 0.011      0.277 ± 0.007       -23.435 ± 0.020    -22.838 ± 0.016

A larger decoder has the larger amortization gap. With the affine one 636 of 1,800 fits are not below the
tolerance by the proved bound, which is a loose one there.

Variant: smoke.
"""

from vaelab.config import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.sweep = defaults.sweep(
        ("model.hidden", ((), (10,), (50,), (200, 200), (400, 400, 400))), num_seeds=5
    )
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
