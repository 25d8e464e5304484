"""The control room: runs, jobs, sessions, usage, health and configuration, each a page of its own."""
