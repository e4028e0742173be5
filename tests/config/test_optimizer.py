"""Optimizers and the inner loop's solvers from a config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import digits_gap
from tests.support.configs import changed, refused
from vaelab import posterior
from vaelab.config import defaults, optimizer
from vaelab.config.experiment import build
from vaelab.config.section import Section


def test_the_inner_loops_optimizer_is_one_setting():
    kept = {"adam": "mu", "quasi_newton": "curvature", "natural_gradient": "count"}  # a name in its state
    families = {"diagonal": "diagonal", "gaussian": "full"}
    for kind, name in (("diagonal", "adam"), ("gaussian", "quasi_newton"), ("diagonal", "natural_gradient")):
        config = changed(digits_gap.get_config("smoke"), f"inference.{kind}.optimizer.name", name)
        experiment = build(changed(config, f"inference.{kind}.objective.name", "elbo"))
        family = experiment.families[families[kind]]
        solver = experiment.evaluate.inference[family.name].solver(family)
        state = jax.tree_util.tree_leaves_with_path(solver.init(family.init()))
        paths = [jax.tree_util.keystr(path) for path, _ in state]
        found = {n for n, what in kept.items() if any(what in path for path in paths)}
        assert name in found
        assert found - {name} <= {"natural_gradient"}  # whose count others have too


@pytest.mark.parametrize("name", ["natural_gradient", "adam"])
def test_a_local_solver_of_the_config_can_be_differentiated(name):
    """The derivative of the stick-the-landing gradient in phi is that of its central differences, whose own
    error is of the order of their step squared."""
    config = digits_gap.get_config()
    changed(config, "learning.local.optimizer.name", name)
    family = posterior.diagonal(2)
    solver = optimizer.gaussian_loop(Section(config.learning.local), 5)(family)
    phi_P, key = jnp.array([0.3, -0.2, 0.1, -0.4]), jax.random.key(0)

    def log_joint(z_K):
        return -jnp.sum(jnp.cosh(z_K - 1.0))

    def gradient(phi_P):
        return solver.gradient(log_joint, phi_P, solver.init(phi_P), key)[0]

    found_PxP = jax.jacobian(gradient)(phi_P)
    differences = [(gradient(phi_P + d) - gradient(phi_P - d)) / 0.02 for d in 0.01 * jnp.eye(4)]
    np.testing.assert_allclose(found_PxP, jnp.stack(differences, axis=1), rtol=1e-3, atol=2e-3)


def section(**changes):
    return Section(defaults.optimizer(**{"name": "adam", **changes}), "config.train.optimizer")


def test_every_number_reaches_the_record():
    numbers = {
        "name": "adamw",
        "schedule": "linear",
        "learning_rate": 0.5,
        "final_scale": 0.25,
        "warmup_steps": 9,
        "b1": 0.1,
        "b2": 0.2,
        "eps": 0.3,
        "weight_decay": 0.4,
        "clip_norm": 7.0,
        "max_norm": 8.0,
    }
    assert optimizer.read_optimizer(section(**numbers), 10)._asdict() == numbers
    assert optimizer.read_optimizer(section(clip_norm=0.0), 10).clip_norm is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"warmup_steps": 10}, "warmup_steps=10: must be fewer than the 10 steps there are"),
        ({"schedule": "exponential"}, "final_scale=0.0: must be above 0 for the exponential schedule"),
        ({"weight_decay": 0.1}, "weight_decay=0.1: needs optimizer.name=adamw"),
        ({"max_norm": 0.0}, "max_norm=0.0: must be above 0"),
        ({"name": "natural_gradient"}, "is for a Gaussian q(z), not an encoder or a flow"),
        ({"name": "adan"}, "did you mean 'adam'"),
    ],
)
def test_what_cannot_be_of_adam_is_one_line(changes, says):
    refused(lambda: optimizer.adam(section(**changes), 10), says)


def local(name, objective, **changes):
    config = defaults.local_loop(5, objective, defaults.optimizer(name, **changes))
    return Section(config, "config.inference.gaussian")


def test_a_gaussian_loop_is_of_its_own_optimizers_or_of_any():
    for name, objective in (
        ("natural_gradient", "stick_the_landing"),
        ("quasi_newton", "elbo"),
        ("adam", "elbo"),
    ):
        loop = optimizer.gaussian_loop(local(name, objective), 5)
        assert (loop.optimizer.name, loop.objective.name, loop.num_steps) == (name, objective, 5)
    refused(
        lambda: optimizer.gaussian_loop(local("quasi_newton", "stick_the_landing"), 5),
        "its own gradient of the elbo",
    )
    refused(
        lambda: optimizer.gaussian_loop(local("natural_gradient", "elbo", clip_norm=1.0), 5),
        "max_norm bounds it",
    )
    refused(lambda: optimizer.flow_loop(local("quasi_newton", "elbo"), 5), "take adam or adamw")


@pytest.mark.parametrize(("rate", "fits"), [(0.5, False), (0.49, True)])
def test_a_step_that_can_leave_the_family_is_refused(rate, fits):
    """A family whose longest step is 1, under steps of rate times 2."""
    family = posterior.full(2)
    family = family._replace(gaussian=family.gaussian._replace(longest_step=1.0))
    section = local("natural_gradient", "elbo", learning_rate=rate, max_norm=2.0)
    loop = optimizer.gaussian_loop(section, 5)
    if fits:
        optimizer.check_steps(section, loop, family)
        return
    line = "a step of learning_rate * max_norm = 1 can leave the family: take less than 2 for full"
    refused(lambda: optimizer.check_steps(section, loop, family), line)
    optimizer.check_steps(
        local("adam", "elbo"), loop._replace(optimizer=loop.optimizer._replace(name="adam")), family
    )
