"""What each example hands to `vaelab.audit`, and its report, against vaelab's networks of its weights."""

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaelab
from vaelab import model
from vaelab.model import likelihood, networks

EXAMPLES = Path(__file__).parents[2] / "examples"
NATS = 1e-3
# With fewer steps some posteriors are such that the inner loop makes nats of the rounding of a product.
NUM_POINTS, NUM_STEPS = 6, 500
QUICK = {
    "tolerance": 1.0,  # one round for all
    "settings": {"evidence.num_samples": 200, "evaluate.elbo_samples": 40},
    "quiet": True,
}

Layers = list[tuple[np.ndarray, np.ndarray]]  # (kernel [in, out], bias [out]), from the input on


def of_nnx(vae) -> tuple[Layers, Layers]:
    from flax import nnx

    return tuple(
        [(layer.kernel[...], layer.bias[...]) for layer in network.layers if isinstance(layer, nnx.Linear)]
        for network in (vae.encoder, vae.decoder)
    )


def of_equinox(vae) -> tuple[Layers, Layers]:
    return tuple([(layer.weight.T, layer.bias) for layer in mlp.layers] for mlp in (vae.encoder, vae.decoder))


def of_haiku(params) -> tuple[Layers, Layers]:
    return tuple(
        [(params[part][f"mlp/~/linear_{i}"]["w"], params[part][f"mlp/~/linear_{i}"]["b"]) for i in range(3)]
        for part in ("encoder", "decoder")
    )


def of_numpyro(params) -> tuple[Layers, Layers]:
    return tuple(
        [(params[name][f"Dense_{i}"]["kernel"], params[name][f"Dense_{i}"]["bias"]) for i in range(3)]
        for name in ("encoder$params", "decoder$params")
    )


def of_torch(vae) -> tuple[Layers, Layers]:
    return tuple(
        [(network[i].weight.detach().numpy().T, network[i].bias.detach().numpy()) for i in (0, 2, 4)]
        for network in (vae.encoder, vae.decoder)
    )


def of_flax_example(params) -> tuple[Layers, Layers]:
    def layer(part, name):
        return params[part]["params"][name]["kernel"], params[part]["params"][name]["bias"]

    # Its second head is log sigma^2, the second half of phi log sigma.
    heads = zip(layer("encoder", "mean"), layer("encoder", "log_variance"), strict=True)
    output = tuple(jnp.concatenate([mean, 0.5 * log_variance], axis=-1) for mean, log_variance in heads)
    decoder = [layer("decoder", "hidden"), layer("decoder", "logits")]
    return [layer("encoder", "hidden"), output], decoder


class Case(NamedTuple):
    """An example, the library that it wants, and (encoder, decoder) of what its `train` returns."""

    name: str
    library: str
    layers: Callable[[Any], tuple[Layers, Layers]]


CASES = [
    Case("nnx_vae", "flax.nnx", of_nnx),
    Case("equinox_vae", "equinox", of_equinox),
    Case("haiku_vae", "haiku", of_haiku),
    Case("numpyro_vae", "numpyro", of_numpyro),
    Case("torch_vae", "torch", of_torch),
    Case("flax_example_vae", "flax.linen", of_flax_example),
]
pytestmark = pytest.mark.xdist_group("examples")  # as what they train is kept by its worker
each_example = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """As where they are run; NumPyro promotes ranks."""
    monkeypatch.syspath_prepend(EXAMPLES)
    with jax.numpy_rank_promotion("allow"):
        yield


@functools.cache
def trained(case: Case):
    """(the example, what it trained, x_NxD); skips where the library is not installed."""
    pytest.importorskip(case.library, reason=f"{case.library} is not installed: examples/requirements.txt")
    example = importlib.import_module(case.name)
    grey_NxD, x_NxD = example.images("digits", "") if case.name == "flax_example_vae" else example.digits()
    return example, example.train(grey_NxD, num_steps=NUM_STEPS), x_NxD[:NUM_POINTS]


@functools.cache
def handed(case: Case) -> tuple[tuple, dict[str, Any]]:
    """The arguments with which the example calls the audit."""
    example, vae, x_NxD = trained(case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vaelab, "audit", lambda *arguments, **named: (arguments, named), raising=False)
        return example.audit(vae, x_NxD)


@functools.cache
def ours(case: Case):
    """(model, theta, encoder, psi): vaelab's own networks with the example's weights."""
    layers = case.layers(trained(case)[1])
    psi, theta = map(as_params, layers)
    (*hidden, phi_size), (*hidden_decoder, data_dim) = ([bias.size for _, bias in part] for part in layers)
    latent_dim = phi_size // 2
    decoder = networks.mlp_decoder(latent_dim, hidden_decoder, data_dim, activation=jax.nn.relu)
    encoder = networks.mlp_encoder(
        data_dim, hidden, jnp.zeros(phi_size), activation=jax.nn.relu, output_scale=1.0
    )
    return model.decoder_model(latent_dim, decoder, likelihood.bernoulli()), theta, encoder, psi


def bound(function: Callable, named: dict[str, Any]) -> Callable:
    """The function with its parameters, where it takes them."""
    return functools.partial(function, named["params"]) if "params" in named else function


def as_params(layers: Layers):
    names = [*(f"Dense_{i}" for i in range(len(layers) - 1)), "output"]
    return {
        name: {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
        for name, (kernel, bias) in zip(names, layers, strict=True)
    }


@each_example
def test_log_density_is_that_of_the_same_weights(case):
    ((log_density, _, x_NxD), named), (reference, theta, _, _) = handed(case), ours(case)
    z_NxK = 2.0 * jax.random.normal(jax.random.key(0), (NUM_POINTS, reference.latent_dim))

    def expected(x_D, z_K):
        log_prior = reference.log_prior(theta, z_K) if log_density is None else 0.0
        return reference.log_likelihood(theta, x_D, z_K) + log_prior

    density_N = jax.vmap(bound(log_density or named["log_joint"], named))(x_NxD, z_NxK)
    expected_N = jax.vmap(expected)(x_NxD, z_NxK)
    np.testing.assert_allclose(density_N, expected_N, rtol=0, atol=NATS)
    assert np.std(expected_N) > 100 * NATS


@each_example
def test_the_encoder_is_that_of_the_same_weights(case):
    ((_, encode, x_NxD), named), (_, _, encoder, psi) = handed(case), ours(case)
    mu_NxK, sigma_NxK = encode if isinstance(encode, tuple) else jax.vmap(bound(encode, named))(x_NxD)
    expected_NxP = jax.vmap(encoder.apply, (None, 0))(psi, x_NxD)
    np.testing.assert_allclose(np.hstack([mu_NxK, np.log(sigma_NxK)]), expected_NxP, atol=1e-5)
    assert np.std(expected_NxP) > 0.01


@pytest.mark.slow
@each_example
def test_the_audit_is_that_of_the_same_weights(case):
    (arguments, named), (reference, theta, encoder, psi) = handed(case), ours(case)
    report = vaelab.audit(*arguments, **named, families=("diagonal",), **QUICK)
    density = {
        "log_likelihood": lambda params, x_D, z_K: reference.log_likelihood(params[0], x_D, z_K),
        "log_joint": lambda params, x_D, z_K: model.bind(reference, params[0], x_D)(z_K),
    }
    density["log_likelihood" if arguments[0] is None else "log_joint"] = None
    expected = vaelab.audit(
        encode=lambda params, x_D: encoder.apply(params[1], x_D),
        x=arguments[2],
        latent_dim=reference.latent_dim,
        key=named["key"],
        params=(theta, psi),
        family="diagonal",
        families=("diagonal",),
        evidence=named["evidence"],
        **density,
        **QUICK,
    )
    for row, other in zip(report.rows, expected.rows, strict=True):
        for name in ("elbo_amortized", "elbo_optimal", "log_evidence"):
            assert row[name]["mean"] == pytest.approx(other[name]["mean"], abs=NATS)


@pytest.mark.slow
def test_the_variance_in_the_place_of_sigma_is_named():
    """The nats are lost to amortization alone, and the audit's note says to what."""
    example = importlib.import_module("wrong_encoder")
    _, vae, x_NxD = trained(CASES[0])
    right, wrong = (
        # A reading has to matter by several tolerances.
        example.audit(vae, encode, x_NxD, **QUICK | {"tolerance": 0.1})
        for encode in (vae.encode, example.wrong(vae.encode))
    )
    rows = right.rows[0], wrong.rows[0]
    for name in ("elbo_optimal", "log_evidence"):
        assert rows[0][name]["mean"] == pytest.approx(rows[1][name]["mean"], abs=0.1)
    assert rows[1]["amortization_gap"]["mean"] > rows[0]["amortization_gap"]["mean"] + 0.5
    assert not any("variance" in note for note in right.notes)
    assert any("does encode return the variance?" in note for note in wrong.notes)
