"""One call between two aiortc peers that may use nothing but the relay: video, audio and a data channel.

The ICE server comes as JSON in the only argument ({"urls", "username", "credential"}), the findings go to standard
output as JSON; tests/interop/aiortc.rs judges them.
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
from aiortc.mediastreams import AudioStreamTrack

FRAMES = 20
ECHO_SIZES = [1, 100, 1200, 16_384, 65_536]


async def main(plan):
    caller, callee = open_side(plan), open_side(plan)
    channel = caller.createDataChannel("echo")  # before the offer, so that it is part of it
    frames = asyncio.gather(*(receive_frames(side) for side in (caller, callee)))
    echoes = asyncio.create_task(echo(channel, callee))
    try:
        await caller.setLocalDescription(await caller.createOffer())
        await callee.setRemoteDescription(caller.localDescription)
        await callee.setLocalDescription(await callee.createAnswer())
        await caller.setRemoteDescription(callee.localDescription)
        report = {"frames": await frames, "echoes": await echoes, "pairs": [pairs(caller), pairs(callee)]}
    finally:
        await asyncio.gather(caller.close(), callee.close())
    print(json.dumps(report))


def open_side(plan):
    server = RTCIceServer(**plan)
    relay = RTCIceTransportPolicy.RELAY
    side = RTCPeerConnection(RTCConfiguration(iceServers=[server], iceTransportPolicy=relay))
    side.addTrack(VideoStreamTrack())
    side.addTrack(AudioStreamTrack())
    return side


async def receive_frames(side):
    """How many video and audio frames came."""
    tracks = asyncio.Queue()
    side.on("track", tracks.put_nowait)

    async def count(track):
        for _ in range(FRAMES):
            await track.recv()
        return [track.kind, FRAMES]

    return sorted(await asyncio.gather(*[count(await tracks.get()) for _ in range(2)]))


async def echo(channel, callee):
    """Sizes of the messages that came back unchanged."""
    answers, opened = asyncio.Queue(), asyncio.Event()
    channel.on("open", opened.set)
    channel.on("message", answers.put_nowait)
    callee.on("datachannel", lambda other: other.on("message", other.send))
    await opened.wait()
    sizes = []
    for size in ECHO_SIZES:
        message = bytes((index * 31 + size) % 251 for index in range(size))
        channel.send(message)
        if await answers.get() == message:
            sizes.append(size)
    return sizes


def pairs(side):
    """The candidate pairs in use: type at this end and at the other."""
    transports = {transceiver.sender.transport.transport for transceiver in side.getTransceivers()}
    connections = [transport.iceGatherer._connection for transport in transports]
    nominated = [pair for connection in connections for pair in connection._nominated.values()]
    return [[pair.local_candidate.type, pair.remote_candidate.type] for pair in nominated]


asyncio.run(asyncio.wait_for(main(json.loads(sys.argv[1])), 90))
