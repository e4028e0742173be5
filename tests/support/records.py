"""A data set as tensorflow-datasets prepares it: array records and what describes them."""

import json
from pathlib import Path

import numpy as np

from tests.support.images import png

PREFIX = "tensorflow_datasets.core.features."


def write_records(
    folder: Path,
    splits: dict[str, list[tuple[np.ndarray, int]]],
    *,
    shape=(None, None, 3),
    image="image",
    label="label",
    names=(),
    file_format="array_record",
) -> Path:
    """splits: {name: [(pixels, label)]}; folder: DATA_DIR/NAME[/CONFIG]/VERSION."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder.mkdir(parents=True)
    dimensions = [str(side or -1) for side in shape]
    features = {image: {"image": {"dtype": "uint8", "shape": {"dimensions": dimensions}}}}
    features[image]["pythonClassName"] = f"{PREFIX}image_feature.Image"
    if label:
        features[label] = {"classLabel": {"numClasses": str(len(names) or 10)}}
        features[label]["pythonClassName"] = f"{PREFIX}class_label_feature.ClassLabel"
    described = {
        "featuresDict": {"features": features},
        "pythonClassName": f"{PREFIX}features_dict.FeaturesDict",
    }
    (folder / "features.json").write_text(json.dumps(described))
    if names:
        (folder / f"{label}.labels.txt").write_text("".join(f"{name}\n" for name in names))
    name, infos = folder.relative_to(folder.parents[1]).parts[0], []
    for split, rows in splits.items():
        path = folder / f"{name}-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for pixels, number in rows:
            example = tf_example_pb2.Example()
            example.features.feature[image].bytes_list.value.append(png(pixels))
            if label:
                example.features.feature[label].int64_list.value.append(number)
            writer.write(example.SerializeToString())
        writer.close()
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        info = {
            "name": split,
            "shardLengths": [str(len(rows))],
            "numBytes": "1",
            "filepathTemplate": template,
        }
        infos.append(info)
    info = {"name": name, "version": folder.name, "fileFormat": file_format, "splits": infos}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder
