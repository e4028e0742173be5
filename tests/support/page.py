"""What a page is made of, and the elements of a part of it."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np

from tests.support.diagnostics import entries, grouped
from vaelab.measure import gap
from vaelab.report.page.latent import Latents
from vaelab.report.page.worst import worst

HOSTILE = '" onfocus="f()\' </title><script>f()</script><img src=x onerror=f()>&'


class Page(HTMLParser):
    """All tags of a page in order, (name, attributes, text up to the next tag)."""

    def __init__(self, path):
        super().__init__()
        self.text, self.tags = path.read_text(), []
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.tags:
            self.tags[-1][2] += data

    def all(self, *names):
        return [entry for entry in self.tags if entry[0] in names]


def elements(markup):
    """A part of a page as a tree; raises where a tag is not closed or text is not escaped."""
    closed = re.sub(r"(<img [^>]*)>", r"\1/>", markup)
    return ElementTree.fromstring(f"<part>{closed}</part>")


def of_class(tree, name):
    return [element for element in tree.iter() if element.get("class") == name]


def texts(tree, name):
    """The text of each element of this name, with that of what is in it."""
    return ["".join(element.itertext()) for element in tree.iter(name)]


def cells(table):
    """The texts of a table's rows, its head first."""
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]


def given(num_points=40, families=("diagonal", "full"), *, encoder=True, latent_dim=3):
    """Arguments of `write_page`, with everything in it."""
    rng = np.random.default_rng(0)
    log_evidence = (-90 + 5 * rng.standard_normal(num_points)).astype(np.float32)
    arrays = {
        "test/index": np.arange(100, 100 + num_points),
        "test/log_evidence": log_evidence,
        "test/pareto_k": np.full(num_points, 0.3),
        "test/acceptance": np.full(num_points, np.nan),
        "test/labels": np.array([f"class {i % 10}" for i in range(num_points)]),
    }
    rows, places, pictures = [], {}, {}
    for family in families:
        optimal = log_evidence - rng.gamma(2.0, 0.3, num_points)
        amortized = optimal - rng.gamma(2.0, 0.5, num_points)
        own = {"elbo_optimal": optimal, "converged": np.ones(num_points, bool)}
        own |= {"excess": np.zeros(num_points), "excess_stderr": np.full(num_points, 0.01)}
        own |= {"elbo_amortized": amortized} if encoder else {}
        arrays |= {f"test/{family}/{name}": array for name, array in own.items()}
        statistics = gap.summarize(gap.Gap(amortized, optimal, log_evidence), has_encoder=encoder)
        statistics["log_evidence"] |= {"bias": "lower", "num_heavy_tailed": 0, "estimator": "sampling"}
        row = {"split": "test", "family": family, "num_points": num_points, "broken_orders": [], **statistics}
        row |= entries(latent_dim, encoder=encoder)
        row |= grouped(log_evidence, optimal, amortized, arrays["test/labels"], encoder=encoder)
        rows.append({**row, "amortized_by": "encoder" if encoder else None})
        shape = num_points, latent_dim
        places[f"test/{family}"] = Latents(*rng.standard_normal((2, *shape)), *rng.gamma(4, 0.1, (2, *shape)))
        images = {"data": rng.random((8, 8)), "by q*": rng.random((8, 8, 3))}
        pictures[f"test/{family}"] = {found.index: images for found in worst(rows[-1], arrays)}
    metrics = [
        {"stage": "train", "step": 100 * i, "elbo": -99.0 + i, "seconds": 1.0}
        | ({"validation_elbo": -99.5 + i, "validation_stderr": 0.3} if i % 2 else {})
        for i in range(1, 40)
    ]
    return {
        "title": "a run",
        "rows": rows,
        "per_datapoint": arrays,
        "metrics": metrics,
        "config": {"train": {"num_steps": 3000, "names": ["a", "b"]}, "seed": 0},
        "command": "python launch.py --workdir=runs/a",
        "versions": {"vaelab": "0.1.0"},
        "pictures": pictures,
        "latents": places,
        "notes": ["a line worth reading"],
    }
