"""The published archives of a data set: downloaded, checked, and prepared by tensorflow-datasets.

Only this needs TensorFlow. Whatever goes wrong is a DataError of one line, and leaves nothing that reading
would take for a prepared data set.
"""

import contextlib
import hashlib
import importlib.util
import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab.data.sources import DataError, first_line

_TIMEOUT_SECONDS = 30


def prepare(builder: Any, data_dir: Path, manual_dir: Path | None = None) -> None:
    """Prepares one data set with its tensorflow-datasets builder; downloads without a manual_dir.

    Raises DataError where an archive is missing or damaged, data_dir cannot be written, TensorFlow
    is not installed, or the download or the builder fails.
    """
    if manual_dir is not None:
        check(builder.url_infos, manual_dir)
    # One folder per data set, and a fresh one for what is unpacked: TFDS takes any unpacked file of
    # the right bare name for the one it wants, and the four names are the same in MNIST and Fashion-MNIST.
    download_dir = data_dir / "downloads" / builder.name
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


def fetch(name: str, url_infos: Mapping[str, Any], data_dir: Path, manual_dir: Path | None) -> Path:
    """The folder with the archives of a data set, each with its sha256: manual_dir, or of a download.

    Raises DataError where an archive is missing or damaged, or cannot be downloaded.
    """
    if manual_dir is not None:
        check(url_infos, manual_dir)
        return manual_dir
    folder = data_dir / "downloads" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot write to {data_dir} ({error.strerror})"
        raise DataError(f"{reason}: choose another --data_dir") from error
    download(url_infos, folder)
    return folder


def check(url_infos: Mapping[str, Any], folder: Path) -> None:
    """Raises DataError where an archive in `folder` has not the sha256 that TFDS has registered."""
    for url, info in url_infos.items():
        path = folder / info.filename
        actual = _sha256(path)
        if actual != info.checksum:
            raise DataError(f"{path}: expected sha256 {info.checksum}, found {actual}; from {url}")


def download(url_infos: Mapping[str, Any], folder: Path) -> None:
    """Fetches the archives that are not whole in `folder` yet.

    The downloader of TFDS retries an unreachable host for minutes. Raises DataError, naming the URL.
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
    check(url_infos, folder)


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
        # Broad, for TFDS raises exceptions of many kinds; it removes its partial folder.
        raise DataError(f"preparing {builder.name} failed: {first_line(error)}") from error


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
    """The innermost reason: requests wraps it in layers that each repeat the URL."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).partition(" for url")[0].partition("\n")[0]
