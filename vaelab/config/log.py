"""Where a run is logged, beside its metrics.jsonl."""

from vaelab.config.section import Section
from vaelab.report.trackers import NAMES


def read_log(section: Section) -> tuple[str, ...]:
    """The trackers that are told of a run, in their order; () is none."""
    if section.value("to") in ((), []):
        return ()
    return section.choices("to", dict.fromkeys(NAMES))
