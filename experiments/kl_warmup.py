"""Does a warm-up of the KL change where the gaps end?

    python launch.py --config=experiments/kl_warmup.py --workdir=runs/kl_warmup

Digits, diagonal q; the weight of the KL rises from 0 to 1 over the first steps; five seeds of each.

Variant: smoke.
"""

from experiments import defaults


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.objective.name = "beta_elbo"
    config.sweep = defaults.sweep(("objective.warmup_steps", (0, 300, 1000, 2000)), num_seeds=5)
    return defaults.apply_variant(config, variant, smoke=smoke)


def smoke(config):
    defaults.shrink(config)
    config.sweep.axes = (("objective.warmup_steps", (0, 20)),)
