"""Slack as a channel: threads, streams, cards and buttons, over Socket Mode or HTTP events."""
