"""A call of some seconds between two aiortc peers that may use nothing but a relay, and what the callee lost of it.

The plan comes as JSON in the only argument ({"caller", "callee", "seconds"}: an ICE server for each side), the findings
go to standard output as JSON; tests/interop/quality.rs judges them.
"""

import asyncio
import json
import sys

from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    VideoStreamTrack,
)
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError


async def main(plan):
    caller, callee = open_side(plan["caller"]), open_side(plan["callee"])
    listening = []
    for side in (caller, callee):
        side.on("track", lambda track: listening.append(asyncio.create_task(listen(track))))
    try:
        await caller.setLocalDescription(await caller.createOffer())
        await callee.setRemoteDescription(caller.localDescription)
        await callee.setLocalDescription(await callee.createAnswer())
        await caller.setRemoteDescription(callee.localDescription)
        await asyncio.sleep(plan["seconds"])
        report = {"callee": await received(callee), "caller": await received(caller)}
    finally:
        await asyncio.gather(caller.close(), callee.close())
    print(json.dumps(report))


def open_side(server):
    relay = RTCIceTransportPolicy.RELAY
    side = RTCPeerConnection(RTCConfiguration(iceServers=[RTCIceServer(**server)], iceTransportPolicy=relay))
    side.addTrack(VideoStreamTrack())
    side.addTrack(AudioStreamTrack())
    return side


async def listen(track):
    try:
        while True:
            await track.recv()
    except MediaStreamError:
        pass


async def received(side):
    """Packets by kind that came and that were lost, as getStats has them."""
    stats = (await side.getStats()).values()
    inbound = [report for report in stats if report.type == "inbound-rtp"]
    return {report.kind: [report.packetsReceived, report.packetsLost] for report in inbound}


asyncio.run(asyncio.wait_for(main(json.loads(sys.argv[1])), 90))
