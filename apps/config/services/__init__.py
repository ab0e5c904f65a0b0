"""Every write to provider keys and model configs, and the writes that touch an instance and its keys together."""
