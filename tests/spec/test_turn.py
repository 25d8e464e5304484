from pathlib import Path
from tests.support.pilot import pilot
from tests.support.model_script import call, say
OFF = {"plugins": {"disabled": ["subagents"]}}

async def test_a(tmp_path: Path) -> None:
    async with pilot(tmp_path, config=OFF) as p:
        p.on(reply=call("ls", path="."), user="^go$", turn_step=1)
        await p.say("go")
        await p.wait_idle()
        for m in await p.transcript(): print(m)
        print(p.said(), p.events)
async def test_b(tmp_path: Path) -> None:
    async with pilot(tmp_path, config=OFF) as p:
        print(await p.use([("ls", {"path": "."}), ("nix", {})]))
        await p.wait_idle()
        print(await p.command("/status"))
