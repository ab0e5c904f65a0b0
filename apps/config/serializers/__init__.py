"""The HTTP bodies of the config service, one module per entity: what comes in is strict, what goes out is masked."""
