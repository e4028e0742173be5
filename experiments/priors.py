"""What does a learned prior do to log p(x), and to what inference loses of it?

    python launch.py --config=experiments/priors.py --workdir=runs/priors

Digits; N(0, I), a mixture of 100 Gaussians, a VampPrior of 100 pseudo-inputs and a RealNVP, each learned
with its decoder and a diagonal encoder; five seeds of each. 120 test images; log p(x) is weighed from the q*
of the diagonal and the full family.

Not measured yet.

Variants: smoke; mnist, 784-200-200-50 for 25 epochs, 500 components (not measured).
"""

from vaelab.config import defaults

PRIORS = ("standard_normal", "mixture", "vamp", "flow")


def get_config(variant: str = ""):
    config = defaults.get_config()
    defaults.study_gaps(config)
    config.inference.families = ("diagonal", "full")
    config.evaluate.splits = ("test",)
    config.evaluate.max_points = 120
    config.model.prior.num_components = 100
    config.sweep = defaults.sweep(("model.prior.name", PRIORS), num_seeds=5)
    return defaults.apply_variant(config, variant, smoke=smoke, mnist=mnist)


def smoke(config):
    defaults.shrink(config)
    config.model.prior.num_components = 8
    config.inference.families = ("diagonal",)


def mnist(config):
    config.data.name = "mnist"
    config.model.latent_dim = 50
    config.model.activation = config.encoder.activation = "elu"
    config.model.prior.num_components = 500
    config.train.num_steps = 13750  # 25 epochs of 55,000
    config.train.chunk_size = 550
    config.train.evaluate_every = config.train.checkpoint_every = 13750
    config.train.optimizer.update({"learning_rate": 2e-3, "schedule": "cosine", "warmup_steps": 550})
    config.evaluate.max_points = 1000
    config.inference.diagonal.certificate_groups = 8  # ELU has no kinks, and little noise
