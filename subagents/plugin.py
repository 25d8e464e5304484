"""The sub-agents plugin: everything that it registers, on one screen."""

from __future__ import annotations

from gateway.agent.prompt import WorkspaceFiles
from gateway.agent.setting import Setting
from gateway.config import Config
from gateway.plugins import Chore, LaneSpec, Registry
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.sessions import Session
from subagents import announce, policy, prompt
from subagents.archive import Archive
from subagents.cards import Board
from subagents.commands import subagent_commands
from subagents.control import Control
from subagents.fanout import fanout_tool
from subagents.job import subagent_kind
from subagents.kind import KIND, LANE
from subagents.restart import Restart
from subagents.rooms import Rooms, room_commands
from subagents.routes import subagent_routes
from subagents.schema import output_fault
from subagents.spawn import Spawner
from subagents.spawn_tool import spawn_tool
from subagents.texts import active_runs_section
from subagents.tools import subagent_tools


class SubagentKind:
    """Runs of kind `subagent`."""

    name = KIND

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def announcement(self, tx: Transaction, run: Run) -> str | None:
        """See `RunKind.announcement`."""
        return announce.announcement(tx, run, self._registry.gateway.files)

    def system_prompt(self, setting: Setting, session: Session, run: Run, files: WorkspaceFiles) -> str:
        """See `RunKind.system_prompt`."""
        return prompt.child_prompt(setting, session, run, files)

    def denied_tools(self, config: Config, session: Session) -> frozenset[str]:
        """See `RunKind.denied_tools`."""
        return policy.denied_tools(config, session, self._registry.tools)


class SubagentsPlugin:
    """The plugin `subagents`."""

    name = "subagents"

    def register(self, registry: Registry) -> None:
        """Registers all of it."""
        rooms = Rooms(registry)
        spawner = Spawner(registry, rooms)
        control = Control(registry, spawner)
        archive = Archive(registry)
        restart = Restart(registry, archive)
        board = Board(registry)
        registry.run_kind(SubagentKind(registry))
        registry.lane(LaneSpec(LANE, lambda config: config.agents.defaults.subagents.max_concurrent))
        registry.job_kind(subagent_kind(registry, spawner))
        registry.tool(spawn_tool(spawner, rooms))
        registry.tool(fanout_tool(registry, spawner))
        for tool in subagent_tools(registry, control):
            registry.tool(tool)
        for command in (*subagent_commands(control), *room_commands(rooms)):
            registry.command(command)
        registry.routes(subagent_routes(control))
        registry.prompt_section(active_runs_section)
        registry.output_check(output_fault)
        registry.chore(Chore("archive", archive.next_due, archive.work))
        registry.chore(Chore("retention", archive.next_purge, archive.purge_old))
        registry.on_startup(restart.apply)
        registry.on_startup(control.open)
        registry.on_startup(board.open)
        registry.on_shutdown(board.close)
        registry.on_shutdown(control.close)


plugin = SubagentsPlugin()
