"""What sub-agents are called in tables: their kind of run, and the lane that they run on."""

KIND = "subagent"
LANE = "subagent"
