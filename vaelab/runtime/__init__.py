"""The machine: devices, processes, memory, checkpoints, directories, signals, progress."""
