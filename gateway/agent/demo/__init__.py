"""`demo/offline`: a scripted stand-in for a model, in this process and without a network (issue part 7).

Everything around it is real: it calls real tools and reads their results, it spawns real sub-agents, and its answers
take the same way as a model's. Only the thinking is a script, which depends on nothing but the request.
"""

from gateway.agent.demo.client import OfflineClient

__all__ = ["OfflineClient"]
