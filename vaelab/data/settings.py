"""What a config says of data that do not come with vaelab."""

from typing import NamedTuple

from vaelab.data.sources import DEFAULT_DATA_DIR

MEMORY_BYTES = 2**28


class Settings(NamedTuple):
    """How data from a path, or of another library, are read; see `vaelab.config.defaults.data`.

    path: a file or folder
    fractions: of the examples that train, validation and test get where the data have no splits
    image_shape: that of x; () is that of the data
    max_value: the largest level of a pixel; 0 finds it
    label: the name of the column, or feature, with the classes; "" finds it
    data_dir: where decoded images may be kept
    memory_bytes: data larger than this stay on the disk
    """

    path: str = ""
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1)
    image_shape: tuple[int, ...] = ()
    max_value: int = 0
    label: str = ""
    data_dir: str = DEFAULT_DATA_DIR
    memory_bytes: int = MEMORY_BYTES
