"""The terminal: `laneway chat`, and the pull channel that its conversations run on."""
