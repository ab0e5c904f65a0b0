"""Every write to tenants: one transaction, one audit row per changed entity, and word to every process's memory."""
