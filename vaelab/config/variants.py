"""Changes of a config that experiments share: a sweep, fewer quantities, the smoke variant."""

from collections.abc import Callable

from ml_collections import ConfigDict

from vaelab.errors import ConfigError, did_you_mean


def study_gaps(config: ConfigDict) -> None:
    """Makes a config measure one family's gaps on 360 training and 360 test datapoints."""
    config.inference.families = (config.posterior.family,)
    config.refit.num_steps = 0
    config.evaluate.splits = ("train", "test")
    config.evaluate.max_points = 360
    config.evidence.num_samples = 2000
    config.train.evaluate_every = config.train.checkpoint_every = config.train.num_steps


def sweep(*axes: tuple, num_seeds: int) -> ConfigDict:
    """Every combination of the axes, each (name, values) or (names, tuples of values), with `num_seeds` each.

    names are dotted settings of the config. The seeds of each are trained as one program, and with them the
    points that differ only in numbers that such a program takes as arguments.
    """
    config = ConfigDict({"axes": axes, "num_seeds": num_seeds})
    # The axes whose points are one program: auto is all that can be.
    config.one_program = ("auto",)
    config.memory_bytes = 2**32  # what the runs trained at once may take
    return config


def apply_variant(config: ConfigDict, variant: str, **variants: Callable[[ConfigDict], None]) -> ConfigDict:
    """Makes the named changes, one or several with commas.

    They are made in the order of the names, but for smoke, which comes last: it makes little of what the
    others ask for, and is in the config, which has no such setting otherwise, for what is printed to say so.
    Raises ConfigError for a name that is none of `variants`.
    """
    names = variant.split(",") if variant else []
    for name in sorted(names, key=lambda name: name == "smoke"):
        if name not in variants:
            hint = did_you_mean(name, variants)
            known = f"unknown variant {name!r}; there are {', '.join(variants)}"
            raise ConfigError(f"{known}; {hint}" if hint else known)
        variants[name](config)
        if name == "smoke":
            config.smoke = True
    return config


def shrink(config: ConfigDict) -> None:
    """Makes any experiment a matter of seconds; what it prints is then of no value."""
    config.train.num_steps = 40
    config.train.optimizer.warmup_steps = 0
    config.train.chunk_size = 20
    config.train.evaluate_every = 20
    config.train.checkpoint_every = 20
    config.refit.num_steps = min(config.refit.num_steps, 20)
    config.evaluate.max_points = 16
    config.evaluate.elbo_samples = 20
    config.evaluate.inference_times = config.evaluate.inference_times[:2]
    config.inference.diagonal.num_steps = 10
    config.inference.gaussian.num_steps = 20
    config.inference.flow.num_steps = 20
    config.evidence.num_samples = 200
    config.evidence.annealing.num_temperatures = 10
    config.evidence.annealing.num_chains = 4
    config.evidence.smc.num_particles = 16
    config.evidence.smc.max_temperatures = 20
    if "sweep" in config:
        config.sweep.num_seeds = 2
        config.sweep.axes = tuple((names, values[:2]) for names, values in config.sweep.axes)
