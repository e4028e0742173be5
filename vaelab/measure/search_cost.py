"""Gradient evaluations that a search for modes takes."""

from vaelab.evidence import smc
from vaelab.inference.modes import ESCAPE_STEPS, FITTINGS
from vaelab.inference.starts import TOPS
from vaelab.measure.subject import SearchSettings

TEMPERATURES = 15.0  # that sequential Monte Carlo from the prior may take


def evaluations(
    settings: SearchSettings, latent_dim: int, *, num_searched: int, num_pilot: int, twice: bool = False
) -> float:
    """Gradient evaluations of a search of num_searched datapoints and of the pilot's prior side among them.

    twice: whether the pilot had a second search. Those of the sampler are counted at TEMPERATURES; values
    count like gradients.
    """
    tops = TOPS if latent_dim <= 2 else 0
    nodes = settings.num_nodes if latent_dim <= 2 else 0
    ascents = (settings.num_starts + tops) * settings.num_steps + nodes
    polish = settings.max_modes * polish_evaluations(settings.polish_steps, latent_dim)
    compare = settings.max_modes * (2 * ESCAPE_STEPS + 3 * settings.max_modes)
    prior_side = 0.0
    if settings.tempering.num_runs:
        climbs = settings.tempering.num_particles * settings.num_steps
        prior_side = smc.evaluations(settings.tempering, TEMPERATURES) + climbs
        if twice:
            prior_side += (
                smc.evaluations(settings.enlarged(latent_dim), TEMPERATURES) + climbs + polish + compare
            )
    return num_searched * (ascents + polish + compare) + num_pilot * prior_side


def polish_evaluations(num_steps: int, latent_dim: int) -> int:
    """Evaluations of `modes.polish` at one end: of the curvature 2 + num_steps times, of the axes twice."""
    return (2 + num_steps) * (2 * latent_dim + 1) + 2 * (1 + FITTINGS * 2 * latent_dim)


def look_evaluations(settings: SearchSettings) -> int:
    """Gradient evaluations of a look at one datapoint."""
    return settings.look_starts * (settings.look_steps + 4)
