"""Optimizers and the inner loop's solvers from a config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import digits_gap
from tests.support.configs import changed
from vaelab import posterior
from vaelab.config import optimizer
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
