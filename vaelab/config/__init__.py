"""From a config to records and functions: the only place where a name in a config becomes code."""
