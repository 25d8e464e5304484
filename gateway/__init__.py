"""Laneway's gateway: sessions with durable mailboxes, and the one process that serves them."""

__version__ = "0.1.0"
