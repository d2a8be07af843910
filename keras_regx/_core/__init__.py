"""Machinery written once: validation, configuration and the registry."""
