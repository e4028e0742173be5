"""How far from the optimum each recipe of the inner loop ends, on a trained run's decoder:

    python benchmarks/local_inference.py --run=runs/mnist_gap

The run must have been trained on the diagonal family. Each recipe starts from the run's encoder, or from
the prior, at the first test points. Its loss is the ELBO of a long run of its family (`REFERENCE`) less its
own, on shared draws that no solver saw. Prints one JSON line: for each recipe its decoder evaluations a
point, each a gradient of log p(x, z), and the mean loss with its standard error over the points and its
maximum, nats. The certificate comes on top, alike for all. This table chose the defaults of
experiments/defaults.py.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import ndtri
from scipy.stats import qmc

from benchmarks.trained import encode, load, nearest
from vaelab import objective, posterior
from vaelab.inference.limited_memory import limited_memory
from vaelab.inference.solver import Solver, natural_gradient, quasi_newton, stochastic_gradient
from vaelab.measure.fit import InferenceSettings, fit_locally
from vaelab.measure.gap import mean_and_stderr
from vaelab.posterior.project import has_projection
from vaelab.types import Array, Key, LatentModel, LogJoint, Objective, Params, PosteriorFamily

SCORE_DRAWS, CHUNK = 2000, 50


class Recipe(NamedTuple):
    solver: str
    rate: float
    steps: int
    draws: int = 10
    start: str = "encoder"
    kind_of_draws: str = "antithetic"  # antithetic, independent, quasi-random, fixed
    # For the solvers that take one: elbo, stick_the_landing, elbo_from_draws.
    gradient: str = "stick_the_landing"
    schedule: str = "cosine"
    b2: float = 0.9  # for adam
    averaged: int = 0  # the number of last iterates that are averaged


RECIPES = {
    "diagonal": [
        Recipe("quasi_newton", 0.5, 40),
        Recipe("quasi_newton", 0.5, 100),
        Recipe("quasi_newton", 0.5, 100, start="prior"),
        Recipe("natural_gradient", 0.2, 40),
        Recipe("natural_gradient", 0.2, 100),
        Recipe("natural_gradient", 0.2, 100, start="prior"),
        Recipe("natural_gradient", 0.2, 100, schedule="constant", averaged=50),
        Recipe("natural_gradient", 0.2, 100, kind_of_draws="independent"),
        Recipe("natural_gradient", 0.2, 60, draws=16, kind_of_draws="quasi-random"),
        Recipe("natural_gradient", 0.2, 60, draws=16),
        Recipe("adam", 3e-2, 100),
        Recipe("adam", 3e-2, 100, gradient="elbo", b2=0.99),
        Recipe("lbfgs", 1.0, 15, draws=64, kind_of_draws="fixed", gradient="elbo", schedule="constant"),
    ],
    "full": [
        Recipe("natural_gradient", 0.2, 100),
        Recipe("natural_gradient", 0.2, 400),
        Recipe("natural_gradient", 0.2, 100, start="prior"),
        Recipe("natural_gradient", 0.2, 100, schedule="constant", averaged=50),
        Recipe("natural_gradient", 0.2, 60, draws=16, kind_of_draws="quasi-random"),
        Recipe("quasi_newton", 0.2, 100),
        Recipe("adam", 2e-2, 100),
    ],
    "low_rank": [
        Recipe("natural_gradient", 0.2, 100),
        Recipe("natural_gradient", 0.2, 200),
        Recipe("adam", 2e-2, 200),
    ],
    "real_nvp": [
        Recipe("adam", 3e-3, 500, b2=0.99),
        Recipe("adam", 3e-3, 1500, b2=0.99),
        Recipe("adam", 3e-3, 500, b2=0.99, start="prior"),
        Recipe("adam", 1e-2, 500, b2=0.99),
        Recipe("adam", 3e-3, 500, b2=0.99, gradient="elbo_from_draws"),
        Recipe("adam", 1e-2, 500, b2=0.99, gradient="elbo_from_draws"),
    ],
    "iaf": [
        Recipe("adam", 3e-3, 500, b2=0.99),
        Recipe("adam", 3e-3, 1500, b2=0.99),
        Recipe("adam", 3e-3, 500, b2=0.99, gradient="elbo_from_draws"),
    ],
}
REFERENCE = {
    "diagonal": Recipe("quasi_newton", 0.3, 2000, draws=20),
    "full": Recipe("natural_gradient", 0.1, 1500, draws=50),
    "low_rank": Recipe("natural_gradient", 0.1, 1500, draws=50),
    "real_nvp": Recipe("adam", 3e-3, 5000, draws=20, b2=0.99),
    "iaf": Recipe("adam", 3e-3, 5000, draws=20, b2=0.99),
}
FLOW = {"num_layers": 2, "hidden": 64}
SIZES = {"low_rank": {"rank": 5}, "real_nvp": FLOW, "iaf": FLOW}


class Subject(NamedTuple):
    """What every recipe is tried on.

    data: (x_NxD, index_N). encoded, encoded_NxP: the family of the run's encoder, and its phi there.
    """

    model: LatentModel
    theta: Params
    data: tuple[np.ndarray, np.ndarray]
    encoded: PosteriorFamily
    encoded_NxP: np.ndarray


def sobol(latent_dim: int, draws: int) -> np.ndarray:
    return qmc.Sobol(latent_dim, rng=0).random_base2(max(draws - 1, 1).bit_length())[:draws]


def on_points(
    draw: Callable[[Key], Array],
    log_joint: LogJoint,
    family: PosteriorFamily,
    phi_P: Array,
    key: Key,
    *,
    gradient: str,
) -> Array:
    """The gradients of `objective`, on points that `draw(key)` gives."""
    held_P = jax.lax.stop_gradient(phi_P) if gradient == "stick_the_landing" else phi_P
    weight = objective.log_weight(log_joint, family, phi_P, held_P)
    return jnp.mean(jax.vmap(weight)(draw(key)))


def bound(recipe: Recipe, latent_dim: int) -> Objective:
    """What the recipe maximises, on its kind of draws."""
    uniform_SxK = sobol(latent_dim, recipe.draws)
    fixed_SxK = jnp.asarray(ndtri(uniform_SxK * 0.998 + 0.001), jnp.float32)
    unit_SxK = jnp.asarray(uniform_SxK, jnp.float32)

    def shifted(key: Key) -> Array:
        """Sobol points moved by one uniform draw modulo 1 (Cranley & Patterson 1976): unbiased."""
        moved_SxK = (unit_SxK + jax.random.uniform(key, (1, latent_dim))) % 1.0
        return jax.scipy.special.ndtri(jnp.clip(moved_SxK, 1e-6, 1.0 - 1e-6))

    drawn = partial(objective.OBJECTIVES[recipe.gradient].bound, num_samples=recipe.draws)
    return {
        "antithetic": partial(drawn, antithetic=True),
        "independent": drawn,
        "quasi-random": partial(on_points, shifted, gradient=recipe.gradient),
        "fixed": partial(on_points, lambda key: fixed_SxK, gradient=recipe.gradient),
    }[recipe.kind_of_draws]


CURVED = {"quasi_newton": quasi_newton, "limited_memory": limited_memory}


def solver(recipe: Recipe, family: PosteriorFamily) -> Solver:
    schedule = (
        optax.cosine_decay_schedule(recipe.rate, recipe.steps)
        if recipe.schedule == "cosine"
        else optax.constant_schedule(recipe.rate)
    )
    if recipe.solver in CURVED:
        return CURVED[recipe.solver](family, schedule, num_samples=recipe.draws, max_norm=5.0)
    rate = optax.scale_by_learning_rate(schedule)
    optimizer = {
        "natural_gradient": lambda: optax.chain(natural_gradient(family, max_norm=5.0), rate),
        "adam": lambda: optax.adam(schedule, b2=recipe.b2),
        # No line search: under vmap each would wait for the slowest. A step of length 1 at most instead.
        "lbfgs": lambda: optax.chain(optax.scale_by_lbfgs(20), optax.clip_by_global_norm(1.0), rate),
    }[recipe.solver]()
    return stochastic_gradient(family, bound(recipe, family.latent_dim), optimizer, num_samples=recipe.draws)


def elbo(subject: Subject, family: PosteriorFamily, recipe: Recipe) -> np.ndarray:
    """L[q] where the recipe ends, at each datapoint."""
    settings = InferenceSettings(
        solver=partial(solver, recipe),
        num_steps=recipe.steps,
        max_rounds=1,
        certificate_groups=3,
        elbo_samples=SCORE_DRAWS,
        elbo_chunk_size=100,
        average_last=recipe.averaged,
    )
    return fit_locally(
        subject.model,
        family,
        settings,
        subject.theta,
        subject.data,
        starting_phi(subject, family),
        jax.random.key(0),
        tolerance=1.0,
        starts=(recipe.start,),
        chunk_size=CHUNK,
    ).elbo_optimal.value


def starting_phi(subject: Subject, family: PosteriorFamily) -> np.ndarray:
    """The encoder's phi in the coordinates of the family."""
    if has_projection(family):
        return nearest(subject.encoded_NxP, subject.encoded, family)
    # The first 2 K numbers of a low_rank q or of a flow are the mean and log sigma without the rest.
    start_NxP = np.tile(np.asarray(family.init()), (len(subject.encoded_NxP), 1))
    start_NxP[:, : 2 * family.latent_dim] = subject.encoded_NxP
    return start_NxP


def rows_of(subject: Subject, name: str) -> list[dict[str, Any]]:
    """A row for each recipe of a family, each also to standard error, as it is done."""
    family = posterior.FAMILIES[name].make(subject.encoded.latent_dim, **SIZES.get(name, {}))
    reference_N = elbo(subject, family, REFERENCE[name])
    rows = []
    for recipe in RECIPES[name]:
        loss_N = reference_N - elbo(subject, family, recipe)
        loss = mean_and_stderr(loss_N)
        row = {"family": name, **recipe._asdict(), "evaluations": recipe.steps * recipe.draws}
        rows.append({**row, "loss": loss["mean"], "stderr": loss["stderr"], "max": float(loss_N.max())})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of a finished run")
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--families", nargs="+", default=list(RECIPES), choices=RECIPES)
    arguments = parser.parse_args()
    experiment, run = load(arguments.run, "diagonal")
    x_NxD, index_N = (array[: arguments.points] for array in experiment.inputs["test"])
    subject = Subject(
        experiment.latent_model,
        run.theta,
        (x_NxD, index_N),
        experiment.families["diagonal"],
        encode(experiment, run, x_NxD),
    )
    rows = [row for name in arguments.families for row in rows_of(subject, name)]
    about = {"benchmark": "local_inference", "device": str(jax.devices()[0]), "points": len(index_N)}
    print(json.dumps({**about, "rows": rows}))


if __name__ == "__main__":
    main()
