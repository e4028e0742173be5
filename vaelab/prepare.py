"""Downloads a data set, or takes its archives from a folder, and prepares it for `vaelab.data`:

    python -m vaelab.prepare NAME [--manual_dir DIR] [--data_dir DIR]
    python -m vaelab.prepare tfds:NAME[/CONFIG]        any image data set of tensorflow-datasets
    python -m vaelab.prepare file --path PATH          says what a run would make of your own data

Only preparing what tensorflow-datasets reads needs TensorFlow: MNIST and its like, CIFAR-10, SVHN and CelebA
are read as they were published. Whatever goes wrong is one line on stderr and exit status 1, and leaves
nothing that reading would take for a prepared data set.
"""

import argparse
import sys
from pathlib import Path

from vaelab import data
from vaelab.data.sources import folder


def main(argv: list[str] | None = None, program: str = "python -m vaelab.prepare") -> int:
    """Prepares what the arguments name; the exit status. program: as the user called it."""
    args = _parser(program).parse_args(argv)
    try:
        data_dir = folder(args.data_dir, "--data_dir").absolute()
        manual_dir = folder(args.manual_dir, "--manual_dir").absolute() if args.manual_dir else None
        if data.is_own(args.name):
            return _own(args, data_dir, manual_dir)
        source = data.source_of(args.name)
        if source.prepare is None:
            print(f"there is nothing to prepare for {args.name}")
            return 0
        made = source.prepare(data_dir, manual_dir)
        dataset = source.load(data_dir)
    except data.DataError as error:
        line = f"{args.name}: {error.fault()}" if error.setting == "data.name" else error.in_words_of("--")
        print(f"{program}: {line}", file=sys.stderr)
        return 1
    print(f"{args.name} {'is' if made else 'was already'} prepared in {data_dir}: {_counts(dataset)}")
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Downloads a data set, or takes its archives from a folder, and prepares it; "
        "or says what a run would make of your own data.",
    )
    parser.add_argument("name", help=f"{', '.join(data.SOURCES)}; tfds:NAME, file, huggingface")
    parser.add_argument("--manual_dir", help="take the original archives from here")
    parser.add_argument("--data_dir", default=data.DEFAULT_DATA_DIR, help="default: %(default)s")
    parser.add_argument("--path", default="", help="of your own data, as config.data.path")
    parser.add_argument("--image_shape", default="", help="of your own data: HEIGHT,WIDTH or HEIGHT,WIDTH,3")
    parser.add_argument("--max_value", type=int, default=0, help="of your own data, as config.data.max_value")
    parser.add_argument("--label", default="", help="of your own data, as config.data.label")
    return parser


def _own(args: argparse.Namespace, data_dir: Path, manual_dir: Path | None) -> int:
    """Prepares what is of tensorflow-datasets, and prints what the data are. Raises DataError."""
    try:
        shape = tuple(int(side) for side in args.image_shape.strip("()").split(",") if side.strip())
    except ValueError:
        raise data.DataError(f"--image_shape={args.image_shape}: give integers, as 32,32,3") from None
    settings = data.Settings(
        path=args.path,
        image_shape=shape,
        max_value=args.max_value,
        label=args.label,
        data_dir=str(data_dir),
    )
    data.prepare_own(args.name, data_dir, manual_dir)
    dataset = data.load_own(args.name, settings)
    kind = f"levels 0 to {dataset.max_value}" if dataset.max_value else "real numbers"
    shape = "x".join(map(str, dataset.image_shape))
    labels = dataset.splits["train"].label_N
    classes = len(set(labels[labels >= 0].tolist()))
    labelled = f", {classes} classes" if classes else ""
    print(f"{args.name}: x of {shape}, {kind}{labelled}: {_counts(dataset)}")
    for note in dataset.notes:
        print(note)
    return 0


def _counts(dataset: data.DataSet) -> str:
    return ", ".join(f"{len(split.label_N)} {name}" for name, split in dataset.splits.items())


if __name__ == "__main__":
    sys.exit(main())
