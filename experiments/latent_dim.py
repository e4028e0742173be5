"""How do the gaps grow with the dimension of z?

    python launch.py --config=experiments/latent_dim.py --workdir=runs/latent_dim

Digits, diagonal q; five seeds of each.

Measured on two CPU cores, beside other work, 370 s; 360 test images, nats, mean ± standard error over five
seeds:

    K    amortization gap   approximation gap   L[q_phi]           log p(x)
    2    0.351 ± 0.034      0.105 ± 0.004       -24.317 ± 0.047    -23.860 ± 0.016
    5    0.258 ± 0.015      0.205 ± 0.006       -23.420 ± 0.025    -22.957 ± 0.044
    10   0.279 ± 0.009      0.284 ± 0.005       -23.433 ± 0.025    -22.870 ± 0.019
    20   0.272 ± 0.005      0.303 ± 0.006       -23.547 ± 0.012    -22.972 ± 0.014
    40   0.256 ± 0.005      0.322 ± 0.004       -23.630 ± 0.007    -23.051 ± 0.010

The approximation gap grows with K; the amortization gap does not. At K = 2 88 of 1,800 fits have not
converged, and at two training images an order of bounds is broken by more than five errors.

Variant: smoke.
"""

from vaelab.config import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.sweep = defaults.sweep(("model.latent_dim", (2, 5, 10, 20, 40)), num_seeds=5)
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
