#!/usr/bin/env bash
# PyTorch: the KL divergence between a continuous Bernoulli and the uniform distribution on [0, 1] is infinite
#
# Expected: both have the support [0, 1]; the continuous Bernoulli with parameter 1/2 is Uniform(0, 1) itself, with a
#   KL divergence of zero, and the others have KL(q || uniform) = -H(q), finite: 0.0294 nats at 0.3. A latent variable
#   on the unit interval with a uniform prior needs just this.
# Seen: `kl_divergence` returns inf for every parameter and in both directions, for the test of the supports counts
#   equal ends as "outside"; with Beta in its place it is right. The loss is inf from the first step on, while the
#   gradient of its KL term is exactly zero, so that training goes on without the term.
# Versions: torch 2.13.0 (a CPU build is enough) with numpy 2.4.6.
# Instead: `-q.entropy()` for KL(q || uniform), or Beta(1, 1) as the prior with draws; for KL(uniform || q), -E[log q]
#   by its formula.
# Output:
#   torch 2.13.0+cpu
#   ContinuousBernoulli 0.3: KL to uniform inf, exact 0.0294; from uniform inf, exact 0.0297; gradient 0.0000
#   ContinuousBernoulli 0.5: KL to uniform inf, exact 0.0000; from uniform inf, exact -0.0000; gradient 0.0000
#   Beta : KL to uniform 0.2349, exact 0.2349; from uniform 0.5151, exact 0.5151; gradient -0.0190
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PY'
import math
import sys

import torch
from torch.distributions import Beta, ContinuousBernoulli, Uniform, kl_divergence

print("torch", torch.__version__)
uniform = Uniform(torch.tensor(0.0), torch.tensor(1.0))
edges = torch.linspace(0, 1, 100_001, dtype=torch.float64)
x = ((edges[1:] + edges[:-1]) / 2).float()
wrong = []
for name, prob in (("ContinuousBernoulli", 0.3), ("ContinuousBernoulli", 0.5), ("Beta", None)):
    logit = torch.tensor(0.0 if prob is None else math.log(prob / (1 - prob)), requires_grad=True)
    q = Beta(2 + logit, torch.tensor(3.0)) if prob is None else ContinuousBernoulli(logits=logit)
    log_q = q.log_prob(x).detach().double()
    exact = float((log_q.exp() * log_q).mean()), float(-log_q.mean())
    loss = kl_divergence(q, uniform)
    loss.backward()
    stated = loss.item(), kl_divergence(uniform, q).item()
    print(
        f"{name} {'' if prob is None else prob}: KL to uniform {stated[0]:.4f}, exact {exact[0]:.4f};"
        f" from uniform {stated[1]:.4f}, exact {exact[1]:.4f}; gradient {logit.grad.item():.4f}"
    )
    if name == "Beta" and max(abs(s - e) for s, e in zip(stated, exact)) > 1e-3:
        wrong.append(f"Beta's are {stated}")
    if name != "Beta" and stated != (math.inf, math.inf):
        wrong.append(f"the continuous Bernoulli's are {stated}")
sys.exit("changed: " + "; ".join(wrong) if wrong else 0)
PY
