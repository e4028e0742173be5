"""What does the weight of the KL trade between rate and distortion, and how far from the feasible limit?

    python launch.py --config=experiments/rate_distortion.py --workdir=runs/rate_distortion

Variant: smoke.
"""

from vaelab.config import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.objective.name = "beta_elbo"
    config.sweep = defaults.sweep(("objective.beta", (0.25, 0.5, 1.0, 2.0, 4.0)), num_seeds=3)
    return defaults.apply_variant(config, variant, smoke=defaults.shrink)
