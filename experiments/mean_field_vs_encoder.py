"""Can an encoder beat mean-field? Learning with an encoder, without one, and with half of one.

    python launch.py --config=experiments/mean_field_vs_encoder.py --workdir=runs/mean_field_vs_encoder

Digits, all of them: the same decoder learned with phi from an encoder (amortized), from a table with a row
for each training image (mean_field), and from some steps after an encoder (semi_amortized), three seeds of
each. After mean-field learning an encoder is trained on its decoder, held fixed, so that it too has an
amortization gap on new images; on training images its phi is the table's. What was measured, of every
variant, is in docs/amortization.md.

Variants: smoke; equal_time, with as many steps as take the time of the amortized run; stopped, each at its
best validation ELBO; long, three times the steps; mnist, 10,000 training images; full, with a full
covariance; timing, one run that plots ELBO against time for a new image.
"""

from vaelab.config import defaults

REGIMES = ("amortized", "mean_field", "semi_amortized")
# These take the same time on two CPU cores, where a step takes 0.87, 2.9 and 9.6 ms a seed on digits (three
# together), and 2.5, 8.2 and 26.6 ms on MNIST.
EQUAL_STEPS = {"digits": (3000, 900, 275), "mnist": (18_000, 5400, 1650)}
# Where the validation ELBO of each is best on digits, of every 1,000 steps, for each seed of `long`.
STOPPED_STEPS = (2000, 1000, 1000)


def get_config(variant: str = ""):
    config = defaults.get_config()
    config.data.observe = "once"  # a row of the table is for one x
    # The full q* is for log p(x), which the weights of a diagonal one alone would put too low.
    config.inference.families = ("diagonal", "full")
    config.refit.families = ("diagonal",)
    config.evaluate.splits = ("train", "test")
    config.evaluate.max_points = 360
    config.sweep = defaults.sweep(("learning.regime", REGIMES), num_seeds=3)
    return defaults.apply_variant(
        config,
        variant,
        smoke=smoke,
        equal_time=equal_time,
        long=long,
        stopped=stopped,
        mnist=mnist,
        full=full,
        timing=timing,
    )


def smoke(config):
    steps_differ = "sweep" in config and not isinstance(config.sweep.axes[0][0], str)
    defaults.shrink(config)
    if steps_differ:
        steps_of_each(config, (40, 20, 20))
    elif "sweep" in config:
        config.sweep.axes = (("learning.regime", REGIMES),)


def equal_time(config):
    steps_of_each(config, EQUAL_STEPS[config.data.name])


def stopped(config):
    steps_of_each(config, STOPPED_STEPS)


def steps_of_each(config, steps: tuple[int, ...]):
    points = tuple(zip(REGIMES, steps, strict=True))
    config.sweep.axes = ((("learning.regime", "train.num_steps"), points),)


def long(config):
    config.train.num_steps *= 3
    config.refit.num_steps *= 3


def mnist(config):
    config.data.name = "mnist"
    config.data.num_train = 10_000
    config.model.latent_dim = 50
    config.model.activation = config.encoder.activation = "elu"
    config.train.chunk_size = 500
    config.train.evaluate_every = config.train.checkpoint_every = 1000
    config.train.optimizer.update({"learning_rate": 2e-3, "schedule": "cosine"})
    config.inference.diagonal.certificate_groups = 8
    config.sweep.num_seeds = 1


def full(config):
    config.sweep.num_seeds = 1
    config.posterior.family = "full"
    config.learning.local.optimizer.max_norm = 4.0  # a longer step could make S singular
    config.inference.families = config.refit.families = ("full",)


def timing(config):
    del config.sweep
    config.evaluate.splits = ("test",)
    config.evaluate.inference_times = (1, 2, 5, 10, 20, 40, 100)
