"""The page: chat and control room in a browser."""
