"""What the trace of a NumPyro model tells of one datapoint, and what it refuses, in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaelab
from tests.support.numpyro_models import ONE, N, X, broken, shared_scale, with_network
from vaelab import from_numpyro
from vaelab.audit.numpyro_sites import Latent, Program, Sites, data_plates, rows, sites_of, traced, unwrapped

numpyro = pytest.importorskip("numpyro")
dist, handlers = pytest.importorskip("numpyro.distributions"), pytest.importorskip("numpyro.handlers")
reparam = pytest.importorskip("numpyro.infer.reparam")


@pytest.fixture(autouse=True)
def promoting():
    """NumPyro promotes ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


def test_a_batched_program_is_called_with_one_row_and_what_goes_beside_x():
    def called(program, x):
        positional, keywords = program.of_one(x)
        return jax.tree.map(lambda a: np.shape(a), (positional, keywords))

    x_D = np.zeros(3, np.float32)
    assert called(Program(None, (1.0,), {"k": 2.0}, True), x_D) == (((1, 3), ()), {"k": ()})
    assert called(Program(None, (), {}, False), (x_D, 1.0)) == (((3,), ()), {})
    assert called(Program(None, (1.0,), {}, True), {"x": x_D}) == (((),), {"x": (1, 3)})


def test_u_is_the_sites_in_the_order_of_their_names_and_back():
    sites = Sites({"a": Latent((2, 1), None), "b": Latent((), None), "c": Latent((1, 3), 0)}, (), 1.0, {})
    u_K = jnp.arange(6.0)
    values = sites.unravel(u_K)
    assert sites.size == 6
    assert {name: value.tolist() for name, value in values.items()} == {
        "a": [[0.0], [1.0]],
        "b": 2.0,
        "c": [[3.0, 4.0, 5.0]],
    }
    np.testing.assert_array_equal(sites.ravel(values), u_K)
    np.testing.assert_array_equal(sites.ravel(dict(reversed(values.items()))), u_K)


def model(x, size=None):
    with numpyro.plate("data", size or len(x), subsample_size=len(x)):
        numpyro.sample("w", dist.Dirichlet(jnp.ones(3)))
        z = numpyro.sample("z", dist.LogNormal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize("size", [None, 50])
def test_the_sites_of_one_datapoint_have_the_shapes_of_u_and_the_scale_of_the_plate(size):
    program = Program(model, (), {"size": size}, True)
    sites = sites_of(traced(program, "model", {}, program.of_one(np.float32(0.5))), {"data"})
    assert sites.latents == {"w": Latent((1, 2), -2), "z": Latent((1,), -1)}  # a simplex of three has two
    assert (sites.observed, sites.size) == (("x",), 3)
    assert sites.scale == (size or 1)


def test_the_plate_of_the_datapoints_is_the_one_that_grows_with_them():
    def two_plates(x):
        with numpyro.plate("parts", 2, dim=-2), numpyro.plate("data", len(x), dim=-1):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(z.sum(axis=0), 1.0), obs=x)

    def fixed_plate(x):
        with numpyro.plate("data", 2):
            numpyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    assert data_plates(Program(two_plates, (), {}, True), {}, ONE, N) == ({"data"}, "no plate has as many")
    none = data_plates(Program(fixed_plate, (), {}, True), {}, ONE, N)
    assert none == (set(), "'x' has the shape (3,) and its distribution (2,)")


def test_rows_begin_again_where_there_are_too_few():
    np.testing.assert_array_equal(rows({"x": np.array([5.0, 7.0])}, 2, 3)["x"], [5.0, 7.0, 5.0])


def test_a_distribution_is_that_in_to_event_and_expand():
    normal = dist.Normal(0.0, 1.0)
    assert unwrapped(normal.expand([3]).to_event(1)) is normal


def discrete(x):
    with numpyro.plate("data", len(x)):
        c = numpyro.sample("c", dist.Categorical(jnp.ones(3) / 3))
        z = numpyro.sample("z", dist.Normal(c, 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x)


def improper(x):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.ImproperUniform(dist.constraints.real, (), ()))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x)


def one_z(x, prior=None, scale=None, size=None, obs=True, plate=True, center=False, noise=False):
    """x ~ N(z, 1), and one thing that is wrong."""
    plates = numpyro.plate("data", size or len(x)) if plate else handlers.mask(mask=True)
    with handlers.scale(scale=scale or 1.0), plates:
        z = numpyro.sample(
            "z", prior or (dist.Normal(0, 2) if plate else dist.Normal(jnp.zeros(len(x)), 2.0))
        )
        mean = z - jnp.mean(x) if center else z
        mean = mean + jax.random.normal(numpyro.prng_key(), jnp.shape(x)) if noise else mean
        numpyro.sample("x", dist.Normal(mean, 1.0), obs=x if obs else None)


def inner_subsample(x):
    with numpyro.plate("data", len(x), dim=-2):
        z = numpyro.sample("z", dist.Normal(0.0, 2.0))
        with numpyro.plate("pixels", 5, subsample_size=2, dim=-1) as index:
            numpyro.sample("x", dist.Normal(z, 1.0), obs=x[:, index])


def decentered(x):
    with handlers.reparam(config={"b": reparam.LocScaleReparam(0)}), numpyro.plate("data", len(x)):
        b = numpyro.sample("b", dist.Normal(1.0, 0.5))
        numpyro.sample("x", dist.Normal(b, 1.0), obs=x)


def all_global(x):
    slope = numpyro.sample("slope", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(slope, 1.0), obs=x)


def part_subsampled(x):
    z = numpyro.sample("z", dist.Normal(0.0, 2.0).expand([len(x)]).to_event(1))
    with numpyro.plate("data", 50, subsample_size=len(x)):
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x)


def partly_observed(x):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x, obs_mask=x > 0.0)


GIVEN = {"weight": 1.0}
REFUSED = {
    "discrete": (discrete, {}, "the latent sites? 'c' is discrete"),
    "improper": (improper, {}, "the prior of 'z' is improper"),
    "masked": (partly_observed, {}, "latent site 'x_unobserved' is masked"),
    "scaled": (lambda x: one_z(x, scale=0.1), {}, "log-density of 'z' is scaled by 0.1"),
    "the whole plate": (lambda x: one_z(x, size=N), {}, "must be len\\(x\\)"),
    "nothing observed": (lambda x: one_z(x, obs=False), {}, "no observed site"),
    "nothing latent": (with_network, {"params": GIVEN | {"z": np.float32(0.3)[None]}}, "has no latent site"),
    "no plate": (lambda x: one_z(x, plate=False), {}, "'z' has a value for each row of x, .* no plate"),
    "no plate of a batch": (lambda x: one_z(x, plate=False), {"batched": True}, "the size of no plate"),
    "others in a datapoint's density": (lambda x: one_z(x, center=True), {}, "must not depend on other"),
    "random numbers": (lambda x: one_z(x, noise=True), {}, "must be pure, without dropout"),
    "a subsample inside": (inner_subsample, {"x": X}, "'pixels' takes 2 of 5"),
    "a site in the place of its reparametrised one": (
        decentered, {"params": {"b": 0.3}}, "params has 'b', which the model computes .* 'b_decentered'",
    ),
    "no params": (with_network, {}, "params lacks 'weight' of the model"),
    "a misspelled param": (with_network, {"params": {"wieght": 1.0}}, "params lacks 'weight' of the model"),
    "a misspelled site": (
        shared_scale, {"params": GIVEN | {"nosie": 0.3}}, "'noise' outside of the plate 'data'",
    ),
    "a value of each datapoint": (with_network, {"params": GIVEN | {"z": ONE}}, "Incompatible shapes"),
    "a value of another shape": (
        shared_scale, {"params": GIVEN | {"noise": np.ones(1)}}, r"params\['noise'\] has the shape \(1,\)",
    ),
    "global": (all_global, {}, "'slope' outside of the plate 'data'"),
    "a site outside": (part_subsampled, {}, "'z' outside of the"),
    "an exception": (broken, {"batched": False}, r"model\(float32\[\]\) raised KeyError: 'weights'"),
    "an exception of a batch": (broken, {}, r"raised KeyError: 'weights'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_density_of_one_datapoint_is_refused(case):
    model, given, line = REFUSED[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        from_numpyro(model, **({"x": ONE} | given))
    assert "\n" not in str(raised.value)
