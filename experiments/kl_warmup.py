"""Does a warm-up of the KL change where the gaps end?

    python launch.py --config=experiments/kl_warmup.py --workdir=runs/kl_warmup

Digits, diagonal q; the weight of the KL rises from 0 to 1 over the first steps; five seeds of each.

Measured on two CPU cores, beside other work, 368 s; 360 test images, nats, mean ± standard error over five
seeds:

    steps   amortization gap   approximation gap   L[q_phi]           log p(x)
    0       0.279 ± 0.009      0.284 ± 0.005       -23.433 ± 0.025    -22.870 ± 0.019
    300     0.276 ± 0.011      0.318 ± 0.006       -23.421 ± 0.023    -22.827 ± 0.024
    1,000   0.307 ± 0.010      0.363 ± 0.003       -23.466 ± 0.016    -22.796 ± 0.016
    2,000   0.308 ± 0.012      0.379 ± 0.007       -23.509 ± 0.020    -22.822 ± 0.016

A longer warm-up leaves a larger approximation gap, and an ELBO that is no better; log p(x) gains 0.07 at
most.

Variant: smoke.
"""

from vaelab.config import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.objective.name = "beta_elbo"
    config.sweep = defaults.sweep(("objective.warmup_steps", (0, 300, 1000, 2000)), num_seeds=5)
    return defaults.apply_variant(config, variant, smoke=smoke)


def smoke(config):
    defaults.shrink(config)
    config.sweep.axes = (("objective.warmup_steps", (0, 20)),)
