"""Downloads a torrent with a shoal node and follows it, over generated stubs.

Lists the node's torrents, starts an auto_download (or joins the one at work), follows its progress
and the node's events until it is complete, and prints the result as JSON on stdout. Everything else
goes to stderr. The job belongs to the node: ending this program does not end the download.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "generated"))

try:
    import grpc
    from google.protobuf.json_format import MessageToDict
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status
    from shoal.v1 import (
        common_pb2,
        node_pb2,
        node_pb2_grpc,
        peer_pb2,
        peer_pb2_grpc,
        torrent_pb2,
        torrent_pb2_grpc,
    )
except ImportError as error:
    sys.exit(f"{error}: install requirements.txt and run generate.py first (see README.md)")

CALL_SECONDS = 30.0
"""Longest time for a call that answers once."""
LAST_EVENT_SECONDS = 10.0
"""Longest time from the end of a job to the event that tells of it."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def clean(text: str) -> str:
    """Makes a name that came from elsewhere safe for a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class Bearer(grpc.aio.UnaryUnaryClientInterceptor):
    """Sends a token with each call that answers once."""

    def __init__(self, token: str) -> None:
        self.header = ("authorization", f"Bearer {token}")

    def sign(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        return details._replace(metadata=grpc.aio.Metadata(*(details.metadata or ()), self.header))

    async def intercept_unary_unary(self, continuation, client_call_details, request):
        return await continuation(self.sign(client_call_details), request)


class StreamBearer(grpc.aio.UnaryStreamClientInterceptor):
    """Sends a token with each call that answers with a stream."""

    def __init__(self, bearer: Bearer) -> None:
        self.bearer = bearer

    async def intercept_unary_stream(self, continuation, client_call_details, request):
        return await continuation(self.bearer.sign(client_call_details), request)


def channel(endpoint: str) -> grpc.aio.Channel:
    """Opens a channel to unix:///PATH, unix:PATH, http://HOST:PORT or HOST:PORT.

    Over TCP a node wants a token, which is taken from SHOAL_TOKEN; HOST is this machine then.
    """
    # Neither a proxy of the environment nor a socket path as :authority, which servers refuse.
    options = [("grpc.enable_http_proxy", 0)]
    token = os.environ.get("SHOAL_TOKEN")
    bearer = Bearer(token) if token else None
    interceptors = [bearer, StreamBearer(bearer)] if bearer else []
    if endpoint.startswith("unix:"):
        options.append(("grpc.default_authority", "localhost"))
        target = endpoint
    else:
        target = endpoint.removeprefix("http://").rstrip("/")
    return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)


async def list_torrents(stub: torrent_pb2_grpc.TorrentServiceStub) -> list[torrent_pb2.Torrent]:
    """All torrents of the node, page by page."""
    torrents, token = [], ""
    while True:
        request = torrent_pb2.ListTorrentsRequest(page_token=token)
        page = await stub.ListTorrents(request, timeout=CALL_SECONDS)
        torrents.extend(page.torrents)
        token = page.next_page_token
        if not token:
            return torrents


def choose(torrents: list[torrent_pb2.Torrent], wanted: str | None) -> torrent_pb2.Torrent:
    """The torrent of this name, info hash or prefix; the only one where none is named."""
    if wanted is None:
        fits = torrents
    else:
        fits = [t for t in torrents if wanted == t.name]
        if not fits and len(wanted) >= 4:
            fits = [t for t in torrents if t.info_hash.startswith(wanted.lower())]
    if len(fits) == 1:
        return fits[0]
    found = "no torrent" if not fits else f"{len(fits)} torrents"
    sys.exit(f"{found} to choose from; name one of the node's {len(torrents)} with --torrent")


async def watch(
    stub: node_pb2_grpc.NodeServiceStub, info_hash: str
) -> AsyncIterator[node_pb2.WatchEventsResponse]:
    """What happens to a torrent, without end: a snapshot, then events.

    A reader too slow for the stream takes up where it was; where that is no longer kept, it begins
    again with a snapshot.
    """
    request = node_pb2.WatchEventsRequest(torrent=info_hash)
    while True:
        try:
            async for message in stub.WatchEvents(request):
                request.epoch, request.after_revision = message.epoch, message.revision
                yield message
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.OUT_OF_RANGE:
                request = node_pb2.WatchEventsRequest(torrent=info_hash)
            elif error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise


async def follow_events(
    events: AsyncIterator[node_pb2.WatchEventsResponse], job: asyncio.Future[int]
) -> int:
    """Prints events until the one that tells of the job's end. Returns how many there were."""
    count, ended = 0, set()
    async for message in events:
        if message.WhichOneof("item") != "event":
            continue
        count += 1
        event = message.event
        kind = node_pb2.EventKind.Name(event.kind).removeprefix("EVENT_KIND_").lower()
        say(f"event {message.revision}: {kind} {event.what}: {clean(event.message)}")
        if event.kind == node_pb2.EVENT_KIND_JOB and event.what == "ended":
            ended.add(event.job.id)
        # A job may end before the first message of its stream is here.
        if ended and await job in ended:
            break
    return count


async def follow_job(
    stub: peer_pb2_grpc.PeerServiceStub, info_hash: str, job: asyncio.Future[int]
) -> peer_pb2.AutoDownloadResponse:
    """Starts or joins the download and prints its progress. Returns its last message."""
    last = peer_pb2.AutoDownloadResponse()
    async for last in stub.AutoDownload(peer_pb2.AutoDownloadRequest(torrent=info_hash)):
        if not job.done():
            job.set_result(last.job_id)
            say(f"{'joined' if last.joined else 'started'} job {last.job_id}")
        p = last.progress
        say(
            f"{p.phase or 'done'}: {p.done_chunks}/{p.total_chunks} chunks, {p.done_bytes} of "
            f"{p.total_bytes} bytes, {p.rate_bps} bytes/s, {p.peers} peers"
        )
        if last.waiting_for:
            say(f"nobody has: {', '.join(clean(name) for name in last.waiting_for)}")
    return last


async def run(endpoint: str, wanted: str | None) -> dict:
    async with channel(endpoint) as connection:
        node = node_pb2_grpc.NodeServiceStub(connection)
        peer = peer_pb2_grpc.PeerServiceStub(connection)

        info = await node.GetInfo(node_pb2.GetInfoRequest(), timeout=CALL_SECONDS)
        say(f"shoald {info.version} at {info.peer_address or 'no peer address'}")
        torrents = await list_torrents(torrent_pb2_grpc.TorrentServiceStub(connection))
        for t in torrents:
            state = common_pb2.TorrentState.Name(t.state).removeprefix("TORRENT_STATE_").lower()
            say(f"{t.info_hash} {clean(t.name)}: {state}, {t.chunks_have}/{t.chunks} chunks")
        torrent = choose(torrents, wanted)

        job: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        events = watch(node, torrent.info_hash)
        # The snapshot first: every event from here on is ours to see.
        await anext(events)
        watching = asyncio.create_task(follow_events(events, job))
        try:
            last = await follow_job(peer, torrent.info_hash, job)
            count = await asyncio.wait_for(watching, LAST_EVENT_SECONDS)
        finally:
            watching.cancel()
        return {
            "torrent": MessageToDict(torrent),
            "result": MessageToDict(last),
            "events": count,
        }


def explain(error: grpc.aio.AioRpcError) -> str:
    """One line: the code, the stable reason of shoal's errors, what a person should know."""
    reason = ""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            reason = f" ({info.reason})"
    return f"{error.code().name}{reason}: {clean(error.details() or '')}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Download a torrent with a shoal node, and watch.")
    parser.add_argument(
        "--endpoint",
        default=os.environ.get("SHOAL_ENDPOINT"),
        help="unix:///PATH or http://HOST:PORT of the node [default: $SHOAL_ENDPOINT]",
    )
    parser.add_argument(
        "--torrent",
        help="name, info hash, or at least 4 digits of it [default: the only one]",
    )
    arguments = parser.parse_args()
    if not arguments.endpoint:
        parser.error("name the node with --endpoint or SHOAL_ENDPOINT")
    try:
        result = asyncio.run(run(arguments.endpoint, arguments.torrent))
    except grpc.aio.AioRpcError as error:
        say(explain(error))
        return 1
    except TimeoutError:
        say("the job has ended, and the node sent no event of it")
        return 1
    except KeyboardInterrupt:
        say("the download goes on; `shoalctl jobs list` shows it")
        return 130
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
