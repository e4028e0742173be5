"""Downloads a data set, or takes its archives from a folder, and prepares it for `vaelab.data`:

    python -m vaelab.prepare NAME [--manual_dir DIR] [--data_dir DIR]

Only this step needs TensorFlow. Whatever goes wrong is one line on stderr and exit status 1, and
leaves nothing that reading would take for a prepared data set.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import io
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.data import sources as data
from vaelab.data.sources import DataError

_TIMEOUT_SECONDS = 30


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vaelab.prepare",
        description="Downloads a data set, or takes its archives from a folder, and prepares it.",
    )
    parser.add_argument("name", help=", ".join(data.NAMES))
    parser.add_argument("--manual_dir", help="take the original archives from here")
    parser.add_argument("--data_dir", default=data.DEFAULT_DATA_DIR, help="default: %(default)s")
    args = parser.parse_args(argv)
    data_dir = Path(args.data_dir).expanduser().absolute()
    manual_dir = Path(args.manual_dir).expanduser().absolute() if args.manual_dir else None
    try:
        data.check_name(args.name)
        if args.name == "digits":
            print("digits comes with scikit-learn: there is nothing to prepare")
            return 0
        already = data.is_prepared(args.name, data_dir)
        if not already:
            prepare(args.name, data_dir=data_dir, manual_dir=manual_dir)
        dataset = data.load(args.name, data_dir=data_dir)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    counts = ", ".join(f"{len(split.label_N)} {name}" for name, split in dataset.splits.items())
    print(f"{args.name} {'was already' if already else 'is'} prepared in {data_dir}: {counts}")
    return 0


def prepare(name: str, *, data_dir: Path, manual_dir: Path | None = None) -> None:
    """Prepares one data set with its tensorflow-datasets builder; downloads without a manual_dir.

    Raises DataError where an archive is missing or damaged, data_dir cannot be written, TensorFlow
    is not installed, or the download or the builder fails.
    """
    builder = data.builder(name, data_dir)
    if manual_dir is not None:
        check_archives(builder.url_infos, manual_dir)
    # One folder per data set, and a fresh one for what is unpacked: TFDS takes any unpacked file of
    # the right bare name for its own, and the four names are the same in MNIST and Fashion-MNIST.
    download_dir = data_dir / "downloads" / name
    try:
        download_dir.mkdir(parents=True, exist_ok=True)
        unpacked = tempfile.TemporaryDirectory(prefix="unpacked-", dir=download_dir)
    except OSError as error:
        reason = f"cannot write to {data_dir} ({error.strerror})"
        raise DataError(f"{reason}: choose another --data_dir") from error
    with unpacked as extract_dir:
        if importlib.util.find_spec("tensorflow") is None:
            raise DataError("preparing needs TensorFlow: run `pip install tensorflow-cpu`")
        if manual_dir is None:
            download(builder.url_infos, download_dir)
        _build(builder, download_dir, manual_dir or download_dir, extract_dir)


def check_archives(url_infos: Mapping[str, Any], folder: Path) -> None:
    """Raises DataError where an archive in `folder` has not the sha256 that TFDS has registered."""
    for url, info in url_infos.items():
        path = folder / info.filename
        found = _sha256(path)
        if found != info.checksum:
            raise DataError(f"{path}: expected sha256 {info.checksum}, found {found}; from {url}")


def download(url_infos: Mapping[str, Any], folder: Path) -> None:
    """Fetches the archives that are not whole in `folder` yet.

    TFDS's own downloader retries an unreachable host for minutes. Raises DataError, naming the URL.
    """
    import requests

    for url, info in url_infos.items():
        path = folder / info.filename
        if _sha256(path) == info.checksum:
            continue
        print(f"downloading {url}", flush=True)
        partial = path.with_name(f"{path.name}.partial")
        try:
            with requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as response:
                response.raise_for_status()
                with partial.open("wb") as file:
                    for block in response.iter_content(1 << 20):
                        file.write(block)
        except OSError as error:  # requests' exceptions are OSErrors
            raise DataError(
                f"cannot download {url} ({_root_cause(error)}): "
                "bring the archives here by other means and pass --manual_dir"
            ) from error
        partial.replace(path)
    check_archives(url_infos, folder)


def _build(builder: Any, download_dir: Path, manual_dir: Path, extract_dir: str) -> None:
    # TensorFlow, which the builder imports, would greet on stderr.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(
        manual_dir=manual_dir, extract_dir=extract_dir, try_download_gcs=False
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_dir=download_dir, download_config=config)
    except Exception as error:
        # Broad, for TFDS raises exceptions of many kinds; it removes its own partial folder.
        raise DataError(f"preparing {builder.name} failed: {data.first_line(error)}") from error


def _sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal, or why there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return error.strerror


def _root_cause(error: BaseException) -> str:
    """requests wraps a short reason in layers that each repeat the URL."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).partition(" for url")[0].partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
