"""A reader of TensorBoard's event files."""

import struct

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c


def events(path):
    """Every event of a file, in order; the checksums must be right."""
    content, found, start = path.read_bytes(), [], 0
    while start < len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        record = content[start + 12 : start + 12 + length]
        checksums = struct.unpack_from("<I", content, start + 8) + struct.unpack_from(
            "<I", content, start + 12 + length
        )
        assert checksums == (masked_crc32c(content[start : start + 8]), masked_crc32c(record))
        found.append(Event.FromString(record))
        start += 16 + length
    assert found[0].file_version == "brain.Event:2"
    return found


def shown(folder):
    """[(step, {tag: value})] as TensorBoard has them: a start makes void what is there from its step on."""
    found = []
    for path in sorted(folder.iterdir()):
        for event in events(path):
            if event.session_log.status == event.session_log.START:
                found = [(step, values) for step, values in found if step < event.step]
            elif event.summary.value:
                found.append((event.step, {value.tag: value for value in event.summary.value}))
    return found


def scalars(folder):
    return [
        (step, {tag: value.simple_value for tag, value in values.items()}) for step, values in shown(folder)
    ]
