"""The config service's views, one module per entity, one class per route: check who asks, call one service, answer."""
