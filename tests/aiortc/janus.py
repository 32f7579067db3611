"""A peer of Janus's echo test: offers audio, video and a data channel over Janus's HTTP API and counts what comes back.

The plan comes as JSON in the only argument ({"url", "opaque_id"}), the findings go to standard output as JSON;
tests/interop/janus.rs judges them. Janus is told to use its relay only; this side uses no ICE server at all.
"""

import asyncio
import json
import sys
import urllib.request
import uuid

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import AudioStreamTrack

FRAMES = 20
MESSAGES = 20


async def main(plan):
    janus = Janus(plan["url"])
    await janus.open("janus.plugin.echotest", plan["opaque_id"])
    side = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    side.addTrack(VideoStreamTrack())
    side.addTrack(AudioStreamTrack())
    channel = side.createDataChannel("echo")
    frames = asyncio.create_task(receive_frames(side))
    try:
        await side.setLocalDescription(await side.createOffer())
        offer = {"type": "offer", "sdp": side.localDescription.sdp, "force_relay": True}
        answer = await janus.message({"audio": True, "video": True}, offer)
        await side.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type=answer["type"]))
        report = {"frames": await frames, "echoes": await echo(channel), "remote": remote_candidates(side)}
        print(json.dumps(report), flush=True)
        if plan.get("hold"):  # until the test has seen what it wants to see
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    finally:
        await janus.close()
        await side.close()


class Janus:
    """One session with one plugin handle."""

    def __init__(self, url):
        self.url = url

    async def open(self, plugin, opaque_id):
        self.url += f"/{(await self.post(janus='create'))['data']['id']}"
        self.session = self.url
        attached = await self.post(janus="attach", plugin=plugin, opaque_id=opaque_id)
        self.url += f"/{attached['data']['id']}"

    async def message(self, body, jsep):
        """The description in the event that answers the message."""
        await self.post(janus="message", body=body, jsep=jsep)
        while True:
            event = await self.get()
            if "jsep" in event:
                return event["jsep"]
            if event["janus"] in ("error", "hangup", "timeout"):
                raise RuntimeError(f"Janus says {event}")

    async def close(self):
        self.url = self.session
        await self.post(janus="destroy")

    async def post(self, **request):
        request["transaction"] = uuid.uuid4().hex
        answer = await fetch(self.url, json.dumps(request).encode())
        if answer["janus"] not in ("success", "ack"):
            raise RuntimeError(f"Janus answers {answer} to {request['janus']}")
        return answer

    async def get(self):
        return await fetch(self.session, None)


async def fetch(url, body):
    def run():
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
            return json.load(answer)

    return await asyncio.get_running_loop().run_in_executor(None, run)


async def receive_frames(side):
    """How many video and audio frames came back."""
    tracks = asyncio.Queue()
    side.on("track", tracks.put_nowait)

    async def count(track):
        for _ in range(FRAMES):
            await track.recv()
        return [track.kind, FRAMES]

    return sorted(await asyncio.gather(*[count(await tracks.get()) for _ in range(2)]))


async def echo(channel):
    """Messages that came back; Janus's echo test puts words of its own before each."""
    answers, opened = asyncio.Queue(), asyncio.Event()
    channel.on("open", opened.set)
    channel.on("message", answers.put_nowait)
    if channel.readyState != "open":
        await opened.wait()
    returned = 0
    for number in range(MESSAGES):
        channel.send(f"message {number}")
        returned += (await answers.get()).endswith(f"message {number}")
    return returned


def remote_candidates(side):
    """The types of Janus's candidates in use."""
    transports = {transceiver.sender.transport.transport for transceiver in side.getTransceivers()}
    connections = [transport.iceGatherer._connection for transport in transports]
    nominated = [pair for connection in connections for pair in connection._nominated.values()]
    return [[pair.remote_candidate.host, pair.remote_candidate.port] for pair in nominated]


asyncio.run(asyncio.wait_for(main(json.loads(sys.argv[1])), 90))
