"""The part of docs/other_packages.md that is made of other_packages.json, between two markers."""

from pathlib import Path
from typing import Any

from benchmarks.packages.record import Number, Package

PAGE = Path(__file__).resolve().parents[2] / "docs" / "other_packages.md"
BEGIN = "<!-- from here on by benchmarks/other_packages.py -->"
HEAD = "| package | call | in vaelab's nats | exact | less the exact one | expected | because |"

BECAUSE = {"L[q]": "samples of q", "log p(x)": 'quadrature, chosen by `evidence="auto"`'}


def _packages() -> dict[str, Package]:
    from benchmarks.packages import PACKAGES

    return PACKAGES


def _signed(value: float) -> str:
    return "0" if abs(value) < 5e-5 else f"{value:+.4f}"


def _error(stderr: float) -> str:
    return f" ± {stderr:.4f}" if stderr >= 5e-5 else " ± 0.0001"


def _call(number: Number) -> str:
    """Code as code, and words as words."""
    return number.call if number.call.startswith(("the ", "logsumexp of ")) else f"`{number.call}`"


def _row(package: Package, number: Number, seen: dict[str, Any]) -> str:
    error = _error(seen["stderr"]) if seen["stderr"] else ""
    expected = _signed(seen["expected"]) + (
        f" ± {seen['expected_stderr']:.4f}" if seen["expected_stderr"] else ""
    )
    cells = (
        package.title,
        _call(number),
        f"{seen['nats']:.4f}{error}",
        f"{number.of} {seen['exact']:.4f}",
        _signed(seen["difference"]),
        expected,
        number.because,
    )
    return f"| {' | '.join(cells)} |"


def _table(result: dict[str, Any]) -> list[str]:
    ours = result["vaelab"]
    lines = ["## Every number beside the exact one", "", HEAD, "|" + "---|" * 7]
    for name, of, key in (("elbo_amortized", "L[q]", "L[q_phi]"), ("log_evidence", "log p(x)", "log p(x)")):
        mean, error = ours[name]
        true = _exact(result, of)
        cells = ("vaelab", f"`audit`, {key}", f"{mean:.4f}{_error(error)}", f"{of} {true:.4f}")
        lines.append(f"| {' | '.join(cells)} | {_signed(mean - true)} | 0 | {BECAUSE[of]} |")
    for name, entry in result["packages"].items():
        package = _packages()[name]
        lines += [_row(package, number, entry["numbers"][number.name]) for number in package.numbers]
    return lines


def _exact(result: dict[str, Any], of: str) -> float:
    for name, entry in result["packages"].items():
        for number in _packages()[name].numbers:
            if number.of == of:
                return entry["numbers"][number.name]["exact"]
    raise ValueError(f"no package has {of}")


def _section(package: Package, entry: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
    lines = [
        f"## {package.title}",
        "",
        f"{versions}. `python benchmarks/other_packages.py --only {package.name}`",
    ]
    lines += ["", package.about]
    if package.numbers:
        lines += ["", "| call | what it is | printed | times | bound or estimate |", "|---|---|---|---|---|"]
    for number in package.numbers:
        seen = entry["numbers"][number.name]
        lines.append(
            f"| {_call(number)} | {number.says} | {seen['printed']:.4f} | {_factor(number.times)} | "
            f"{number.kind} |"
        )
    if package.traps:
        lines += ["", *(f"- {trap.says.format(value=entry['traps'][trap.name])}" for trap in package.traps)]
    return lines


def _factor(times: float) -> str:
    return f"{times:g}" if abs(times) >= 1.0 else f"{'-' if times < 0 else ''}1/{abs(1.0 / times):g}"


def render(result: dict[str, Any]) -> str:
    """The part of the page, from its marker to its end."""
    parts = [_table(result)]
    parts += [_section(_packages()[name], entry) for name, entry in result["packages"].items()]
    return "\n\n".join([BEGIN, *("\n".join(part) for part in parts)]) + "\n"


def update(result: dict[str, Any]) -> None:
    head = PAGE.read_text().partition(BEGIN)[0]
    PAGE.write_text(head + render(result))


def line_of(text: str) -> int:
    """The number of the last line of the made part that has this text; that of its end where none has."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else [""]
    part = next((i for i, line in enumerate(lines) if line == BEGIN), 0)
    hits = [i for i, line in enumerate(lines[part:], part) if text in line]
    return (hits[-1] if hits else len(lines) - 1) + 1
