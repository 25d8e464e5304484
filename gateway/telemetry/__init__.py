"""Traces of what the gateway does, for who has configured a collector. Costs nothing where nobody has."""
