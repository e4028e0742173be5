"""The inner loop of the diagonal family on MNIST's shapes (50-200-200-784, ELU, Bernoulli), and in PyTorch:

    python benchmarks/inner_loop.py            # needs: pip install -r benchmarks/requirements.txt

The same algorithm (`vaelab.inference.solver.quasi_newton`, the default's 40 steps of 10 antithetic draws) on
the same weights and 100 datapoints at once, started at the prior: vaelab's compiled loop, in two chunks that
run at once as those of a run do and in one, and a loop written in batched PyTorch, eager and by
torch.compile, with the pairs of a step taken in one after the other and, as vaelab does, together. Each runs
in a process of its own, in turn, several times, after a first run that compiles; a time ends when the last
phi is there. Prints one JSON line: median milliseconds a datapoint, their range, the ratios round by round,
the mean ELBO that each comes to (nats), and the part of the machine's own rate of large matrix products that
the decoder's products alone make up; and what the parts of the loop take when each runs alone, 40 times: its
random numbers, its gradients of log p(x, z), and the matrix products of these.

    python benchmarks/inner_loop.py --full     # the full family's, and the same steps from a gradient in phi
"""

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time

import numpy as np

LATENT_DIM, DATA_DIM, HIDDEN, POINTS = 50, 784, 200, 100
STEPS, DRAWS, RATE, MAX_NORM, MIN_RATIO, SCORE_DRAWS = 40, 10, 0.5, 5.0, 0.1, 1000
REPEATS = 5
WIDTHS = (LATENT_DIM, HIDDEN, HIDDEN, DATA_DIM)
# Products of one gradient in z: each layer once forwards and once back.
FLOPS = 2 * 2 * sum(a * b for a, b in itertools.pairwise(WIDTHS))


def problem() -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """(a decoder's layers, binary images drawn from it)."""
    random = np.random.RandomState(0)
    layers = [
        (np.float32(1.5 * random.normal(size=(a, b)) / math.sqrt(a)), np.zeros(b, np.float32))
        for a, b in itertools.pairwise(WIDTHS)
    ]
    h = random.normal(size=(POINTS, LATENT_DIM))
    for number, (kernel, bias) in enumerate(layers):
        h = h @ kernel + bias
        if number < len(layers) - 1:
            h = np.where(h > 0, h, np.expm1(h))
    x_NxD = np.float32(random.uniform(size=h.shape) < 1.0 / (1.0 + np.exp(-h)))
    return layers, x_NxD


def best_seconds(run) -> float:
    run()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def trained():
    """(vaelab's model with the decoder of `problem`, its theta)."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    from vaelab import model
    from vaelab.model import likelihood, networks

    decoder = networks.mlp_decoder(LATENT_DIM, (HIDDEN, HIDDEN), DATA_DIM, activation=nn.elu)
    theta = decoder.init(jax.random.key(0))
    layers = {
        name: {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
        for name, (kernel, bias) in zip(("Dense_0", "Dense_1", "output"), problem()[0], strict=True)
    }
    latent_model = model.decoder_model(LATENT_DIM, decoder, likelihood.bernoulli())
    return latent_model, layers | {name: theta[name] for name in theta.keys() - layers.keys()}


def default_solver(section: str, family):
    """(the solver that a run takes for the family by default, its steps), as the config's section has it."""
    from vaelab.config import defaults
    from vaelab.config.optimizer import gaussian_loop
    from vaelab.config.section import Section

    config = defaults.inference()[section]
    return gaussian_loop(Section(config, f"inference.{section}"), config.num_steps)(family), config.num_steps


def time_vaelab(chunks: int, *, full: bool = False, by_gradient: bool = False) -> dict[str, float]:
    import jax
    import jax.numpy as jnp

    from vaelab import model, posterior
    from vaelab.inference.solver import move
    from vaelab.objective.draws import estimate_elbo
    from vaelab.runtime.chunks import map_datapoints

    (latent_model, theta), x_NxD = trained(), problem()[1]
    family = (posterior.full if full else posterior.diagonal)(LATENT_DIM)
    solver, steps = default_solver("gaussian" if full else "diagonal", family)
    solver = solver._replace(step=None) if by_gradient else solver

    def one(theta, row):
        x_D, index = row
        log_joint = model.bind(latent_model, theta, x_D)

        def step(carry, t):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(1), index), t)
            return move(solver, log_joint, *carry, key), None

        start = family.init()
        return jax.lax.scan(step, (start, solver.init(start)), jnp.arange(steps))[0][0]

    rows, size = (x_NxD, np.arange(POINTS)), POINTS // chunks

    def loop():
        return map_datapoints(one, theta, rows, chunk_size=size)

    seconds = best_seconds(loop)

    def score(x_D, phi_P):
        log_joint = model.bind(latent_model, theta, x_D)
        return estimate_elbo(
            log_joint, family, phi_P, jax.random.key(2), num_samples=SCORE_DRAWS, chunk_size=100
        ).value

    elbo = float(jnp.mean(jax.jit(jax.vmap(score))(x_NxD, loop())))
    large = jax.random.normal(jax.random.key(0), (2000, 2000))
    product = jax.jit(lambda a: a @ a)
    rate = 2 * 2000**3 / best_seconds(lambda: product(large).block_until_ready())
    share = FLOPS * POINTS * steps * solver.num_samples / seconds / rate
    return {"seconds": seconds, "elbo": elbo, "share_of_products": share, "gflops": rate / 1e9}


def time_parts() -> dict[str, float]:
    """Seconds of the parts of the loop, each alone in a scan of the same length and on draws that change."""
    import jax
    import jax.numpy as jnp

    layers, x_NxD = problem()
    layers = [tuple(map(jnp.asarray, layer)) for layer in layers]

    def draws(key):
        keys_N = jax.random.split(key, POINTS)
        return jax.vmap(lambda k: jax.random.normal(k, (DRAWS // 2, LATENT_DIM)))(keys_N)

    def log_joint(activation, likelihood, z_K, x_D):
        h = z_K
        for number, (kernel, bias) in enumerate(layers):
            h = h @ kernel + bias
            h = activation(h) if number < len(layers) - 1 else h
        return likelihood(h, x_D)

    def gradients(activation, likelihood):
        one = jax.grad(lambda z_K, x_D: log_joint(activation, likelihood, z_K, x_D))
        return jax.vmap(jax.vmap(one, (0, None)))

    from vaelab.model.likelihood import bernoulli

    whole = gradients(jax.nn.elu, bernoulli().log_prob)
    products = gradients(lambda h: h, lambda h, x_D: 0.5 * jnp.sum(h * h))

    def repeated(step, start):
        scan = jax.jit(
            lambda carry: jax.lax.scan(lambda c, t: (step(c, t), None), carry, jnp.arange(STEPS))[0]
        )
        return best_seconds(lambda: jax.block_until_ready(scan(start)))

    z = jnp.zeros((POINTS, DRAWS, LATENT_DIM))
    return {
        "random_numbers": repeated(
            lambda c, t: c + draws(jax.random.fold_in(jax.random.key(0), t)),
            jnp.zeros((POINTS, DRAWS // 2, LATENT_DIM)),
        ),
        "gradients": repeated(lambda c, t: 1e-3 * whole(c, x_NxD), z),
        "products": repeated(lambda c, t: 1e-3 * products(c, x_NxD), z),
    }


def learn(B, P, offset, slope):
    """Learns from pairs of draws in PyTorch: the curvature B and its inverse P, batched; see `solver`."""
    for i in range(offset.shape[1]):
        d, y = offset[:, i, :, None], slope[:, i, :, None]
        Bd = B @ d
        dBd = (d * Bd).sum((1, 2), keepdim=True)
        y = y + (MIN_RATIO - (d * y).sum((1, 2), keepdim=True) / dBd).clamp(min=0.0) * Bd
        dy = (d * y).sum((1, 2), keepdim=True)
        B = B - Bd @ Bd.mT / dBd + y @ y.mT / dy
        Py = P @ y
        cross = d @ Py.mT
        P = P - (cross + cross.mT) / dy + ((y * Py).sum((1, 2), keepdim=True) / dy + 1.0) / dy * (d @ d.mT)
    return B, P


def together(torch):
    """`learn` as `vaelab.inference.curvature.learn` takes it: by the pairs' vectors, then all at once."""

    def learn_together(B, P, offset, slope):
        Bd_all = offset @ B
        P_Bd_all, P_slope_all = (torch.cat([Bd_all, slope], 1) @ P).split(offset.shape[1], 1)
        Bds, P_Bds, ys, P_ys, Pys, per_dBds, per_dys, squares = ([] for _ in range(8))
        for i in range(offset.shape[1]):
            d, y = offset[:, i], slope[:, i]
            Bd, P_Bd, P_y = Bd_all[:, i], P_Bd_all[:, i], P_slope_all[:, i]
            for j in range(i):
                along = (Bds[j] * d).sum(1, keepdim=True) * per_dBds[j]
                across = (ys[j] * d).sum(1, keepdim=True) * per_dys[j]
                Bd = Bd - along * Bds[j] + across * ys[j]
                P_Bd = P_Bd - along * P_Bds[j] + across * P_ys[j]
            dBd = (d * Bd).sum(1, keepdim=True)
            part = (MIN_RATIO - (d * y).sum(1, keepdim=True) / dBd).clamp(min=0.0)
            y, P_y = y + part * Bd, P_y + part * P_Bd
            Py = P_y
            for j in range(i):
                dy, Pyy = (offset[:, j] * y).sum(1, keepdim=True), (Pys[j] * y).sum(1, keepdim=True)
                Py = Py + (squares[j] * dy - Pyy * per_dys[j]) * offset[:, j] - dy * per_dys[j] * Pys[j]
            per_dy = 1.0 / (d * y).sum(1, keepdim=True)
            new = (
                Bd,
                P_Bd,
                y,
                P_y,
                Py,
                1.0 / dBd,
                per_dy,
                ((y * Py).sum(1, keepdim=True) * per_dy + 1.0) * per_dy,
            )
            for kept, value in zip((Bds, P_Bds, ys, P_ys, Pys, per_dBds, per_dys, squares), new, strict=True):
                kept.append(value)
        Bd, y, Py = (torch.stack(rows, 1) for rows in (Bds, ys, Pys))
        per_dBd, per_dy, square = (torch.stack(rows, 1) for rows in (per_dBds, per_dys, squares))
        B = B + torch.cat([-per_dBd * Bd, per_dy * y], 1).mT @ torch.cat([Bd, y], 1)
        e = 0.5 * square * offset - per_dy * Py
        return B, P + torch.cat([offset, e], 1).mT @ torch.cat([e, offset], 1)

    return learn_together


def time_torch(compiled: bool, update_of=lambda torch: learn) -> dict[str, float]:
    import torch
    from torch.nn import functional as F

    arrays, x = problem()
    layers = [tuple(torch.from_numpy(a) for a in layer) for layer in arrays]
    x = torch.from_numpy(x)[:, None, :]
    eye, update = torch.eye(LATENT_DIM), update_of(torch)

    def log_joint(z: torch.Tensor) -> torch.Tensor:
        h = z
        for number, (kernel, bias) in enumerate(layers):
            h = h @ kernel + bias
            h = F.elu(h) if number < len(layers) - 1 else h
        log_likelihood = -F.binary_cross_entropy_with_logits(h, x.expand_as(h), reduction="none").sum(-1)
        return log_likelihood - 0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)

    def step(mu, log_sigma, B, P, half, rate):
        sigma = log_sigma.exp()
        offset = sigma[:, None] * torch.cat([half, -half], 1)
        z = (mu[:, None] + offset).requires_grad_()
        (g,) = torch.autograd.grad(log_joint(z).sum(), z)
        excess = B - eye
        path = g + z.detach() + offset @ excess
        grad_mu = path.mean(1) - mu
        grad_scale = (path * offset).mean(1) - sigma**2 * excess.diagonal(dim1=1, dim2=2) - (sigma**2 - 1.0)
        count = half.shape[1]
        B, P = update(B, P, offset[:, :count], 0.5 * (g[:, count:] - g[:, :count]))
        newton, natural = (P @ grad_mu[:, :, None])[:, :, 0], 0.5 * grad_scale
        square = (grad_mu * newton + grad_scale * natural).sum(1, keepdim=True)
        short = torch.where(square > MAX_NORM**2, MAX_NORM * square.clamp(min=1e-12).rsqrt(), 1.0)
        return mu + rate * short * newton, log_sigma + rate * short * natural, B, P

    moved = torch.compile(step) if compiled else step

    def loop() -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        mu, log_sigma = torch.zeros(POINTS, LATENT_DIM), torch.zeros(POINTS, LATENT_DIM)
        B = P = eye.expand(POINTS, -1, -1)
        for t in range(STEPS):
            half = torch.randn(POINTS, DRAWS // 2, LATENT_DIM, generator=generator)
            rate = torch.tensor(RATE * 0.5 * (1.0 + math.cos(math.pi * t / STEPS)))
            mu, log_sigma, B, P = moved(mu, log_sigma, B, P, half, rate)
        return mu, log_sigma

    seconds = best_seconds(loop)
    mu, log_sigma = loop()
    with torch.no_grad():
        eps = torch.randn(POINTS, SCORE_DRAWS, LATENT_DIM, generator=torch.Generator().manual_seed(2))
        value = log_joint(mu[:, None] + log_sigma.exp()[:, None] * eps).mean(1)
        entropy = (log_sigma + 0.5 * (1.0 + math.log(2 * math.pi))).sum(1)
    return {"seconds": seconds, "elbo": float((value + entropy).mean())}


TIMERS = {
    "vaelab": lambda: time_vaelab(2),
    "vaelab_one_chunk": lambda: time_vaelab(1),
    "torch_eager": lambda: time_torch(False),
    "torch_compiled": lambda: time_torch(True),
    "torch_eager_together": lambda: time_torch(False, together),
    "torch_compiled_together": lambda: time_torch(True, together),
}
FULL = {
    "vaelab": lambda: time_vaelab(2, full=True),
    "vaelab_one_chunk": lambda: time_vaelab(1, full=True),
    "vaelab_by_gradient": lambda: time_vaelab(1, full=True, by_gradient=True),
}
PARTS = "parts"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="100 steps of the full family, vaelab's alone")
    parser.add_argument("--only", choices=[*TIMERS, *FULL, PARTS], help="time one, in this process")
    arguments = parser.parse_args()
    timers = FULL if arguments.full else TIMERS
    if arguments.only:
        print(json.dumps((timers | {PARTS: time_parts})[arguments.only]()))
        return
    family = ["--full"] if arguments.full else []
    by_name: dict[str, list[dict[str, float]]] = {name: [] for name in timers}
    for _ in range(arguments.rounds):
        for name in timers:
            by_name[name].append(_alone(name, *family))
    result = {}
    for name, runs in by_name.items():
        ms = [1e3 * run["seconds"] / POINTS for run in runs]
        result[name] = {"median_ms": statistics.median(ms), "min_ms": min(ms), "max_ms": max(ms)}
        result[name]["elbo"] = runs[0]["elbo"]
    for name in list(timers)[1:]:
        ratios = [t["seconds"] / v["seconds"] for t, v in zip(by_name[name], by_name["vaelab"], strict=True)]
        result[f"{name}_over_vaelab"] = {
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
        }
    for key in ("share_of_products", "gflops"):
        result[key] = statistics.median(run[key] for run in by_name["vaelab"])
    if not arguments.full:
        result["parts_ms"] = {name: 1e3 * seconds / POINTS for name, seconds in _alone(PARTS).items()}
    about = {"benchmark": "inner_loop", "cores": os.cpu_count(), "rounds": arguments.rounds}
    print(json.dumps({**about, **result}))


def _alone(name: str, *family: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", name, *family]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
