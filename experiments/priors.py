"""What does a learned prior do to log p(x), and to what inference loses of it?

    python launch.py --config=experiments/priors.py --workdir=runs/priors

Digits; N(0, I), a mixture of 100 Gaussians, a VampPrior of 100 pseudo-inputs and a RealNVP, each learned
with its decoder and a diagonal encoder; five seeds of each. 120 test images; log p(x) is weighed from the q*
of the diagonal and the full family.

Measured on two CPU cores beside other work, five seeds; 20 minutes for the first two priors; means over
seeds with 95% intervals, nats:

                                N(0, I)             mixture             mixture less N(0, I), paired
    log p(x) >=                 -23.039 ± 0.049     -22.742 ± 0.068     0.297 ± 0.044
    amortization gap            0.293 ± 0.015       0.285 ± 0.017       -0.008 ± 0.021
    approximation, diagonal     0.296 ± 0.019       0.172 ± 0.007       -0.124 ± 0.012
    approximation, full         0.145 ± 0.013       0.078 ± 0.004       -0.066 ± 0.011

The mixture gains log p(x) in each seed, and its posteriors are nearer to Gaussian: the approximation gaps
are 0.58 and 0.54 of those under N(0, I). What the encoder loses is the same within the error. All 10 units
are active in each seed, by the variance of the means, where N(0, I) has 7 to 9.

The VampPrior and the flow: not measured. MNIST with the mixture prior: not measured.

Variants: smoke; mnist, 784-200-200-50 for 25 epochs, 500 components.
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
