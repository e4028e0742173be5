"""Downloads a data set, or takes its archives from a folder, and prepares it for `vaelab.data`:

    python -m vaelab.prepare NAME [--manual_dir DIR] [--data_dir DIR]

Only this step needs TensorFlow. Whatever goes wrong is one line on stderr and exit status 1, and
leaves nothing that reading would take for a prepared data set.
"""

import argparse
import sys

from vaelab import data
from vaelab.data.sources import folder


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vaelab.prepare",
        description="Downloads a data set, or takes its archives from a folder, and prepares it.",
    )
    parser.add_argument("name", help=", ".join(data.SOURCES))
    parser.add_argument("--manual_dir", help="take the original archives from here")
    parser.add_argument("--data_dir", default=data.DEFAULT_DATA_DIR, help="default: %(default)s")
    args = parser.parse_args(argv)
    try:
        data_dir = folder(args.data_dir, "--data_dir").absolute()
        manual_dir = folder(args.manual_dir, "--manual_dir").absolute() if args.manual_dir else None
        source = data.source_of(args.name)
        if source.prepare is None:
            print(f"there is nothing to prepare for {args.name}")
            return 0
        made = source.prepare(data_dir, manual_dir)
        dataset = source.load(data_dir)
    except data.DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    counts = ", ".join(f"{len(split.label_N)} {name}" for name, split in dataset.splits.items())
    print(f"{args.name} {'is' if made else 'was already'} prepared in {data_dir}: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
