"""How do the gaps grow with the dimension of z?

    python launch.py --config=experiments/latent_dim.py --workdir=runs/latent_dim

Digits, diagonal q; five seeds of each.

Measured on two CPU cores, beside other work; 360 test images, nats, mean ± standard error over five seeds:

    K    amortization gap   approximation gap   L[q_phi]           log p(x)
    2    0.349 ± 0.035      0.105 ± 0.002       -24.317 ± 0.047    -23.862 ± 0.016
    5    0.258 ± 0.015      0.205 ± 0.006       -23.420 ± 0.025    -22.956 ± 0.044
    10   0.279 ± 0.009      0.286 ± 0.004       -23.433 ± 0.025    -22.868 ± 0.019
    20   0.272 ± 0.005      0.304 ± 0.005       -23.547 ± 0.012    -22.971 ± 0.014
    40   0.256 ± 0.005      0.324 ± 0.004       -23.630 ± 0.007    -23.050 ± 0.009

The approximation gap grows with K; the amortization gap does not. (K = 2: 93 of 1,800 fits not converged,
and one training image's order of bounds broken.)

Variant: smoke.
"""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.sweep = defaults.sweep(("model.latent_dim", (2, 5, 10, 20, 40)), num_seeds=5)
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
