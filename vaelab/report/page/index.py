"""The page over a folder of runs: every row of every run, to filter, sort and open.

Its script does the filtering and sorting; without one all rows are there, in the order of their names.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from vaelab.report.page.document import write_document
from vaelab.report.page.markup import Markup, join, plain, tag
from vaelab.report.page.plots import finite
from vaelab.report.page.summary import shown_of
from vaelab.report.quantities import HTML

QUANTITIES = ("amortization_gap", "approximation_gap", "log_evidence", "elbo_amortized", "elbo_optimal")


class Entry(NamedTuple):
    """A run, sweep or audit of the folder.

    name: its path below the folder; kind: run, sweep or audit
    about: what it was done with, as data and latent_dim, in a few words
    rows: as in its `gap.json` or `sweep.json`
    page: whether there is a report.html in it
    """

    name: str
    kind: str
    about: str
    rows: Sequence[Mapping[str, Any]]
    smoke: bool = False
    page: bool = True


SCRIPT = """
const body = document.querySelector("tbody"), rows = [...body.rows], count = document.querySelector("output");
const field = document.querySelector("input");
const show = () => {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let seen = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    seen += !row.hidden;
  }
  count.textContent = `${seen} of ${rows.length} rows`;
};
field.addEventListener("input", show);
document.querySelectorAll("thead button").forEach((button) => button.addEventListener("click", () => {
  const head = button.parentElement, place = head.cellIndex;
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  document.querySelectorAll("thead th").forEach((one) => one.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const key = (row) => row.cells[place].dataset.v ?? row.cells[place].textContent;
  rows.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const [m, n] = [Number(x), Number(y)];
    return sign * (isNaN(m) || isNaN(n) ? x.localeCompare(y, undefined, { numeric: true }) : m - n);
  });
  body.append(...rows);
}));
show();
"""


def write_index(path: Path, entries: Sequence[Entry], *, title: str) -> None:
    """Writes the page, which links those of the entries beside it."""
    counts = Counter(entry.kind for entry in entries)
    kinds = [f"{n:,} {kind}{'s' * (n > 1)}" for kind in ("run", "sweep", "audit") if (n := counts[kind])]
    lead = tag("p", f"{', '.join(kinds)}. Nats a datapoint: mean ± standard error.", class_="lead")
    find = tag(
        "p",
        tag("label", "Rows with all of these words ", tag("input", type="search")),
        " ",
        tag("output", "", aria_live="polite"),
        class_="find",
    )
    body = join(find, _table(entries))
    write_document(path, title, Markup(), lead, {"Every row": body}, script=SCRIPT)


def _table(entries: Sequence[Entry]) -> Markup:
    words = ["run", "what", "with", "split", "family"]
    titles = [*words, *(Markup(HTML[name]) for name in QUANTITIES), "not converged"]
    head = tag(
        "tr",
        *(
            tag("th", tag("button", title, type="button"), scope="col", class_="words" if n < 5 else None)
            for n, title in enumerate(titles)
        ),
    )
    body = [_line(entry, row) for entry in entries for row in entry.rows or [{}]]
    caption = tag("caption", tag("span", "Every row of every run; a heading sorts by its column"))
    whole = tag("table", caption, tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="scroll cards sorts", role="region", aria_label="Every row", tabindex=0)


def _line(entry: Entry, row: Mapping[str, Any]) -> Markup:
    name = tag("a", entry.name, href=f"{quote(entry.name)}/report.html") if entry.page else entry.name
    point = ", ".join(f"{key.split('.')[-1]}={value}" for key, value in row.get("settings", {}).items())
    about = "; ".join(filter(None, (entry.about, point, "smoke" if entry.smoke else "")))
    cells = [tag("td", entry.kind, class_="words"), tag("td", about or "-", class_="words about")]
    cells += [tag("td", row.get(name) or "-", class_="words") for name in ("split", "family")]
    for key in QUANTITIES:
        mean, _ = finite(row.get(key))
        value = "" if mean != mean else f"{mean:.6g}"
        cells.append(tag("td", shown_of(row, key), data_v=value, data_of=plain(Markup(HTML[key]))))
    unconverged = row.get("num_unconverged")
    said = "-" if unconverged is None else f"{unconverged:,}"
    cells.append(tag("td", said, data_v=unconverged, data_of="not converged"))
    return tag("tr", tag("th", name, scope="row"), *cells)
