"""The terms of the field in one table; `python -m vaelab.report.glossary` writes docs/glossary.md from it."""

from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "glossary.md"
HEAD = """# Glossary

The terms of the field as vaelab uses them, one sentence each. Symbols are those of the code; every bound and
log-density is in nats and for one datapoint.
"""
# TERM | SYMBOL | MEANING under the title of a section; a line that is indented goes on with the one before.
TERMS = """
## Model and distributions
datapoint | x in R^D | one observation, with an index of its own in its split.
latent variable | z in R^K | what the model draws before x, and inference has to recover.
prior | p(z) | the distribution of z before x is seen: N(0, I), one that is learned with the model, or an
    audit's own.
learned prior | | a prior with parameters in theta: mixture, vamp, flow, autoregressive, hierarchy.
hierarchy, level | z = (z_1, ..., z_L) | a prior in which each level of z is Gaussian given the one above
    it; z_1 is next to x.
condition | y | what a model is conditional on, a label or the library size of the datapoint: p(x, z given
    y).
library size | l | the total of the counts of a cell.
VampPrior | 1/M sum_m q(z given u_m) | the mixture of the encoder's q at learned pseudo-inputs.
pseudo-input | u in R^D | a learned point in the space of x, in its range, whose encoding is a component
    of the VampPrior.
likelihood | p(x given z) | the distribution of x at one z, with the decoder's output as its parameters.
decoder, model parameters | theta | the network from z to the likelihood's parameters, shared by all
    datapoints.
posterior | p(z given x) | the distribution of z after x is seen, which has no closed form but in
    linear-Gaussian models.
evidence | log p(x) | the logarithm of the model's density at x, z integrated out.
variational distribution | q(z), q_phi | the approximation of the posterior of one datapoint.
variational parameters | phi in R^P | the numbers that pick one member of a variational family.
variational family | | the set of distributions q_phi, one for each phi: diagonal, full, cholesky,
    low_rank, householder, real_nvp, iaf, and of levels per_level, bottom_up, top_down.
mean-field | | inference with the diagonal family, fitted to each datapoint.
reparameterization | z = mu + S eps | a draw of q as a differentiable function of phi and noise eps ~ N(0,
    I).
encoder, its parameters | psi | the network from x to phi, shared by all datapoints.
amortization | phi = f_psi(x) | variational parameters from a shared function in place of an optimisation
    for each datapoint.
linear-Gaussian model | | the model with an affine decoder and Gaussian noise, of which posterior,
    evidence and gaps are known in closed form.

## Bounds and gaps
ELBO | L[q] | E_q[log p(x given z)] - KL(q || p(z)), a lower bound of log p(x) that lacks KL(q || p(z
    given x)).
KL divergence | KL(q || p) | E_q[log q - log p], at least 0 and 0 only where the two are equal.
amortized ELBO | L[q_phi] | the ELBO at the encoder's variational parameters.
optimal ELBO | L[q*] | the ELBO at the best member of the family for this datapoint, the decoder held
    fixed.
amortization gap | L[q*] - L[q_phi] | what a better encoder could gain with the same family and decoder.
approximation gap | log p(x) - L[q*] | what no encoder of this family could gain.
inference gap | log p(x) - L[q_phi] | the sum of the two.
within-level gap | L[q*_per_level] - L[q*_diagonal] | what a diagonal q loses by correlations within the
    levels of z.
across-level gap | L[q*_full] - L[q*_per_level] | what a q with independent levels loses against a joint
    Gaussian one.
non-Gaussian gap | log p(x) - L[q*_full] | what no Gaussian q has.
generalization gap | | L[q_phi] on training data less that on test data.
negative gap | | a datapoint at which the fitted q* came out below the encoder: an estimate's noise, or a
    fit that failed; counted, never clipped.
broken order | | a pair among L[q_phi] <= L[q*] <= log p(x) that comes out the wrong way round by more
    than five standard errors.
IWAE bound | log 1/S sum_s w_s | a bound of S draws together, with the weights w_s = p(x, z_s) / q(z_s).
Renyi bound | | the bound of S draws that replaces the KL divergence by Renyi's, of order alpha.
beta-ELBO | | the ELBO with its KL term multiplied by beta.
warm-up | | a weight of the KL that rises from 0 over the first steps.
free bits | | the ELBO with its KL term replaced by a floor where it is below it.

## Diagnostics
rate | KL(q || p(z)) | what z costs: the KL of q(z given x) from the prior.
distortion | -E_q[log p(x given z)] | the rest of the bound: L[q] = -distortion - rate.
bits/dim | | -log2 of a bound of the probability of x for each dimension, where x is of levels.
active unit | | a latent dimension whose mean under q varies over the data, by a variance above 0.01.
aggregate posterior | q(z) | the mean of q(z given x) over the data.
mutual information | I(x; z) | what z says of x: the mean KL of q(z given x) from the aggregate posterior.
total correlation | | the KL of a distribution from the product of its marginals.
ELBO surgery | | the rate as I(x; z) + KL(q(z) || p(z)).
interaction | | what a better mean gains less once the scale is better too.

## Gradients and local inference
local inference, inner loop | | the optimisation of phi for one datapoint, theta held fixed.
draw | eps in R^K | one sample of the noise of one datapoint's q; S of them make an estimate.
antithetic pair | mu + d, mu - d | two draws with opposite noise.
score | grad_phi log q | the part of the gradient whose mean is 0.
stick-the-landing | | the gradient of the ELBO without its score term, which has no variance where q is
    the posterior.
DReG | | the same for the IWAE bound, with the weights of the draws squared.
Fisher information | F | the curvature of KL(q || q + d) in phi.
natural gradient | F^-1 grad | the direction of steepest ascent when the length of a step is measured by
    the KL divergence.
curvature | Lam | minus the mean Hessian of log p(x, z) under q.
quasi-Newton | Lam^-1 grad | steps for the mean with the curvature learned from pairs of gradients (BFGS).
control variate | | a term of known mean that is subtracted to make an estimate less noisy.
gradient evaluations per datapoint | | how many gradients of log p(x, z) the fit of one datapoint took
    ("gradient evaluations" in the tables).
round | | one pass of the inner loop; what has not converged gets another, up to `inference.max_rounds`.
excess | L[q*] - L[q] | the nats by which a fit may still be below the best member of its family.
certificate | | the estimate or bound of the excess, with its standard error: `bound`, `estimate` or
    `progress`.
converged | | the certificate with two of its standard errors is at most `inference.tolerance`.

## Estimating log p(x)
importance sampling | | log of the mean weight of draws from q*: low in expectation.
importance weight | w | p(x, z) / q(z) at a draw z of q.
Pareto k-hat | k | the tail index of the weights; above 0.7 their standard error is not to be believed.
annealed importance sampling (AIS) | | weights along a path of distributions from q* or the prior to the
    posterior, moved by Hamiltonian Monte Carlo.
sequential Monte Carlo (SMC) | | annealing with particles that are resampled by their weights.
bidirectional Monte Carlo (BDMC) | | annealing both ways on simulated data, where an exact posterior draw
    is known: a lower and an upper bound.
quadrature | | integration of p(x, z) over a grid of z, for K <= 2.
mode | m | a local maximum of log p(x, z) in z; two are told apart by their distance and the dip between
    them.
Laplace approximation | | the Gaussian distribution of the curvature at a mode, and the evidence that it
    gives.
the prior's side | | log p(x) by sequential Monte Carlo that starts at the prior and knows of no fit.
wrong-mode gap | | what the bound loses in the mode of the first fit, against that of the best mode.
simulation-based calibration | | whether the true z of simulated data is uniformly ranked among draws of
    q*.

## Learning
regime | | where the variational parameters of a training datapoint come from: amortized, mean_field or
    semi_amortized.
table | | the variational parameters of all training datapoints in mean-field learning, one vector each.
E-step, M-step | | a step on the variational parameters with theta held fixed, and one on theta with these
    held fixed.
semi-amortized | | some steps of the inner loop after the encoder.
unrolled | | with the gradient taken through these steps.
refit | | training an encoder of another family on a finished decoder, held fixed.

## Runs
run | | one training with all that is measured of it, in a directory that belongs to its config.
sweep | | runs over combinations of settings, with several seeds of each.
stage | | one piece of a run that is stored and not computed again: training, a refit, the fits of a
    split, its evidence.
split | | train, validation, test, simulated (drawn from the model) or corrupted (test data with replaced
    dimensions).
row | | one entry of a table of results: a split and a family.
observed once | | binarised or dequantised from the example's index, so that every evaluation sees the
    same x.
tracker | | a package that keeps the config, the metrics and the results of runs: TensorBoard, W&B, MLflow.
paired error | | the standard error of the mean of per-datapoint differences.
smoke | | a variant of seconds that shows that a command works; its figures mean nothing.
"""


class Term(NamedTuple):
    """One term, or several of one meaning; symbol: "" where it has none."""

    name: str
    symbol: str
    meaning: str


def glossary() -> dict[str, list[Term]]:
    """The terms by the title of their section."""
    sections: dict[str, list[Term]] = {}
    for line in TERMS.strip().replace("\n    ", " ").splitlines():
        if line.startswith("## "):
            sections[line.removeprefix("## ")] = terms = []
        elif line:
            name, symbol, meaning = (
                cell.strip() for cell in f" {line}".replace(" | | ", " |  | ").split(" | ")
            )
            terms.append(Term(name, symbol, meaning))
    return sections


def page() -> str:
    """The page, in Markdown: a table for each section, with a column for symbols where there are any."""
    parts = [HEAD]
    for title, terms in glossary().items():
        columns = [
            n for n, name in enumerate(Term._fields) if name != "symbol" or any(t.symbol for t in terms)
        ]
        head = [("term", "symbol", "meaning")[n] for n in columns]
        rows = [[term[n].replace("|", "\\|") for n in columns] for term in terms]
        lines = ["|".join(["", *(f" {cell} " if cell else " " for cell in row), ""]) for row in [head, *rows]]
        lines.insert(1, "|" + "---|" * len(columns))
        parts.append(f"\n## {title}\n\n" + "\n".join(lines) + "\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
