"""What does the weight of the KL trade between rate and distortion, and how far from the feasible limit?

    python launch.py --config=experiments/rate_distortion.py --workdir=runs/rate_distortion

Digits, diagonal q, beta of the training objective from 0.25 to 4, three seeds of each as one program. No q of
any of these models has a rate and a distortion that add up to less than minus the best log p(x). That
limit, drawn in `rate_distortion.png`, is by a lower bound of log p(x): it may be too high by what that loses.

Measured on two CPU cores, beside other work, 593 s (403 s of processor time); 360 test images, nats a
datapoint, mean ± standard error over three seeds:

    beta   rate              distortion        L[q_phi]           log p(x)
    0.25   14.581 ± 0.045    12.710 ± 0.085    -27.290 ± 0.040    -23.329 ± 0.042
    0.5     9.98 ± 0.18      14.58 ± 0.11      -24.566 ± 0.072    -22.937 ± 0.005
    1       4.714 ± 0.015    18.746 ± 0.019    -23.460 ± 0.024    -22.879 ± 0.020
    2       1.731 ± 0.066    23.10 ± 0.14      -24.835 ± 0.076    -24.062 ± 0.079
    4       0.0011 ± 0.0000  27.635 ± 0.007    -27.636 ± 0.007    -27.602 ± 0.007

A beta of 1 comes nearest to the limit, 0.58 nats above it; at 4 the latent variables say nothing of x.

Variant: smoke.
"""

from vaelab.config import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.objective.name = "beta_elbo"
    config.sweep = defaults.sweep(("objective.beta", (0.25, 0.5, 1.0, 2.0, 4.0)), num_seeds=3)
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
