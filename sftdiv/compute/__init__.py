"""Executors of the work on shards (``conf/compute``): this machine's processes, and datatrove's executors."""
