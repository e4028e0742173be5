"""Does a larger encoder close the amortization gap?

    python launch.py --config=experiments/encoder_capacity.py --workdir=runs/encoder_capacity

Digits, diagonal q; one model with each encoder, the decoder's layers alike; five seeds of each.

Measured on two CPU cores, beside other work, 322 s; 360 test images, nats, mean ± standard error over five
seeds:

    encoder         amortization gap   approximation gap   L[q_phi]           log p(x)
    affine          0.336 ± 0.005      0.280 ± 0.002       -23.676 ± 0.014    -23.059 ± 0.017
    10              0.439 ± 0.007      0.164 ± 0.005       -24.288 ± 0.010    -23.685 ± 0.013
    50              0.297 ± 0.003      0.255 ± 0.006       -23.623 ± 0.018    -23.071 ± 0.019
    200, 200        0.279 ± 0.009      0.284 ± 0.005       -23.433 ± 0.025    -22.870 ± 0.019
    400, 400, 400   0.294 ± 0.011      0.264 ± 0.004       -23.456 ± 0.026    -22.898 ± 0.029

From 10 units to 200, 200 the gap falls by a third; more does not lower it further. The narrow encoder has the
largest amortization gap and the smallest approximation gap: its decoder is learned under it.

Variant: smoke.
"""

from vaelab.config import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.sweep = defaults.sweep(
        ("encoder.hidden", ((), (10,), (50,), (200, 200), (400, 400, 400))), num_seeds=5
    )
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
