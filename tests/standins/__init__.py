"""Platforms that Laneway talks to, as servers on loopback: strict, and driven by the real client libraries."""
