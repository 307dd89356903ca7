"""Downloads a torrent with a shoal node and follows it, over generated stubs.

Adds a torrent where one is given, starts an auto_download (or joins the one at work), follows its
progress and the node's events until it is complete, runs a command with the files, and prints the
result as JSON on stdout. Everything else goes to stderr. The job belongs to the node: ending this
program does not end the download, and a node that is started again goes on with it.
"""

import argparse
import asyncio
import ipaddress
import json
import os
import shlex
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
AWAY_SECONDS = 30.0
"""Longest time for which a node may be away in the middle, while it is started again."""
RETRY_SECONDS = 0.5
"""Time between two attempts to reach it again."""


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


def channel(endpoint: str, ca: Path | None, token: str | None) -> grpc.aio.Channel:
    """Opens a channel to unix:///PATH, http://HOST:PORT or https://HOST:PORT.

    `ca` is the certificate that an https node is verified with, a PEM file; without one, those of
    the system are. Over the Unix socket the node knows its user, elsewhere it wants a token.
    """
    # A proxy of the environment is not for nodes.
    options = [("grpc.enable_http_proxy", 0)]
    bearer = Bearer(token) if token else None
    interceptors = [bearer, StreamBearer(bearer)] if bearer else []
    if endpoint.startswith("unix:"):
        # grpcio would send the socket's path as :authority, which servers refuse.
        options.append(("grpc.default_authority", "localhost"))
        return grpc.aio.insecure_channel(endpoint, options=options, interceptors=interceptors)
    scheme, _, target = endpoint.rstrip("/").rpartition("://")
    if scheme == "https":
        credentials = grpc.ssl_channel_credentials(ca.read_bytes() if ca else None)
        return grpc.aio.secure_channel(target, credentials, options, interceptors=interceptors)
    if token and not is_loopback(target):
        sys.exit(f"{endpoint}: a token could be read on the way; use https")
    return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)


def is_loopback(target: str) -> bool:
    host = target.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def peer_address(text: str) -> common_pb2.PeerAddress:
    """Reads IP:PORT, with brackets around an IPv6 address."""
    ip, _, port = text.rpartition(":")
    address = ipaddress.ip_address(ip.removeprefix("[").removesuffix("]"))
    return common_pb2.PeerAddress(ip=str(address), port=int(port))


async def add(
    stub: torrent_pb2_grpc.TorrentServiceStub, source: str, peers: list[common_pb2.PeerAddress]
) -> torrent_pb2.Torrent:
    """Adds a metainfo file of this side or a magnet link. One that is there already is no error."""
    request = torrent_pb2.AddTorrentRequest(peers=peers)
    if source.startswith("magnet:"):
        request.magnet = source
    else:
        request.metainfo = Path(source).read_bytes()
    reply = await stub.AddTorrent(request, timeout=CALL_SECONDS)
    say(f"{'was there' if reply.already else 'added'}: {clean(reply.torrent.name)}")
    return reply.torrent


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


class Patience:
    """Says how long to go on trying to reach a node that is away."""

    def __init__(self) -> None:
        self.last_heard = asyncio.get_running_loop().time()

    def heard(self) -> None:
        """The node is there."""
        self.last_heard = asyncio.get_running_loop().time()

    async def wait(self, error: grpc.aio.AioRpcError) -> None:
        """Waits for another attempt, or raises `error` where it is of no use."""
        # A node that is there says why: a tracker of it may be unavailable.
        away = error.code() == grpc.StatusCode.UNAVAILABLE
        away = away and reason(error) in ("", "SHUTTING_DOWN")
        if not away or asyncio.get_running_loop().time() - self.last_heard > AWAY_SECONDS:
            raise error
        await asyncio.sleep(RETRY_SECONDS)


async def watch(
    stub: node_pb2_grpc.NodeServiceStub, info_hash: str
) -> AsyncIterator[node_pb2.WatchEventsResponse]:
    """What happens to a torrent, without end: a snapshot, then events.

    A reader too slow for the stream takes up where it was. So does one whose node was away; where
    that was started anew, or the revision is no longer kept, it begins again with a snapshot.
    """
    request = node_pb2.WatchEventsRequest(torrent=info_hash)
    patience = Patience()
    while True:
        try:
            async for message in stub.WatchEvents(request):
                request.epoch, request.after_revision = message.epoch, message.revision
                patience.heard()
                yield message
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.OUT_OF_RANGE:
                request = node_pb2.WatchEventsRequest(torrent=info_hash)
            elif error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                await patience.wait(error)


async def metadata(events: AsyncIterator[node_pb2.WatchEventsResponse]) -> torrent_pb2.Torrent:
    """Waits until the metadata of a magnet link is here. Returns its torrent."""
    async for message in events:
        event = message.event
        torrents = [event.torrent] if event.HasField("torrent") else message.snapshot.torrents
        for torrent in torrents:
            if torrent.state != common_pb2.TORRENT_STATE_METADATA:
                return torrent
            if event.what == "metadata_failed":
                sys.exit(f"the metadata cannot be used: {clean(torrent.error)}")
    raise AssertionError("the stream has no end")


class Job:
    """A download as two streams tell of it: that of its call, and the events."""

    def __init__(self) -> None:
        self.id: int | None = None
        """Its number. A node that was started anew gives another one."""
        self.events = 0
        """Events told so far."""
        self.is_over = False
        """The stream of its call has ended."""
        self.ended: set[int] = set()
        self.end_told = asyncio.Event()
        """Both streams have told of its end."""

    def see(self) -> None:
        """Looks whether the streams agree; either may be the first."""
        if self.id in self.ended:
            self.end_told.set()


async def follow_events(events: AsyncIterator[node_pb2.WatchEventsResponse], job: Job) -> None:
    """Prints events, without end."""
    async for message in events:
        if message.HasField("snapshot") and job.is_over:
            # What happened before it is not told one by one.
            job.ended.add(job.id)
            job.ended.difference_update(running.id for running in message.snapshot.jobs)
        elif message.HasField("event"):
            job.events += 1
            event = message.event
            kind = node_pb2.EventKind.Name(event.kind).removeprefix("EVENT_KIND_").lower()
            say(f"event {message.revision}: {kind} {event.what}: {clean(event.message)}")
            if event.kind == node_pb2.EVENT_KIND_JOB and event.what == "ended":
                job.ended.add(event.job.id)
        job.see()


async def follow_job(
    stub: peer_pb2_grpc.PeerServiceStub, info_hash: str, job: Job
) -> peer_pb2.AutoDownloadResponse:
    """Starts or joins the download and prints its progress. Returns its last message.

    A node that is away in the middle is called again: its job goes on, and the call joins it.
    """
    patience = Patience()
    while True:
        try:
            async for last in stub.AutoDownload(peer_pb2.AutoDownloadRequest(torrent=info_hash)):
                patience.heard()
                if job.id is None:
                    say(f"{'joined' if last.joined else 'started'} job {last.job_id}")
                job.id = last.job_id
                say_progress(last)
            job.is_over = True
            job.see()
            return last
        except grpc.aio.AioRpcError as error:
            await patience.wait(error)


def say_progress(message: peer_pb2.AutoDownloadResponse) -> None:
    p = message.progress
    say(
        f"{p.phase or 'done'}: {p.done_chunks}/{p.total_chunks} chunks, {p.done_bytes} of "
        f"{p.total_bytes} bytes, {p.rate_bps} bytes/s, {p.peers} peers"
    )
    if message.waiting_for:
        say(f"nobody has: {', '.join(clean(name) for name in message.waiting_for)}")


async def act(command: str, paths: list[str]) -> int:
    """Runs a command with the paths of the files behind its own words. Returns its exit code."""
    # Its standard output goes to ours of errors: stdout is the result.
    child = await asyncio.create_subprocess_exec(*shlex.split(command), *paths, stdout=sys.stderr)
    return await child.wait()


async def run(arguments: argparse.Namespace, token: str | None) -> dict:
    async with channel(arguments.endpoint, arguments.ca, token) as connection:
        node = node_pb2_grpc.NodeServiceStub(connection)
        peer = peer_pb2_grpc.PeerServiceStub(connection)
        stub = torrent_pb2_grpc.TorrentServiceStub(connection)

        info = await node.GetInfo(node_pb2.GetInfoRequest(), timeout=CALL_SECONDS)
        say(f"shoald {info.version} at {info.peer_address or 'no peer address'}")
        if arguments.add:
            torrent = await add(stub, arguments.add, arguments.peer)
        else:
            torrents = await list_torrents(stub)
            for t in torrents:
                state = common_pb2.TorrentState.Name(t.state).removeprefix("TORRENT_STATE_")
                chunks = f"{t.chunks_have}/{t.chunks} chunks"
                say(f"{t.info_hash} {clean(t.name)}: {state.lower()}, {chunks}")
            torrent = choose(torrents, arguments.torrent)

        job = Job()
        events = watch(node, torrent.info_hash)
        # The snapshot first: every event from here on is ours to see.
        first = await anext(events)
        if any(t.state == common_pb2.TORRENT_STATE_METADATA for t in first.snapshot.torrents):
            torrent = await metadata(events)
        watching = asyncio.create_task(follow_events(events, job))
        try:
            last = await follow_job(peer, torrent.info_hash, job)
            told = asyncio.create_task(job.end_told.wait())
            await asyncio.wait(
                (watching, told), timeout=LAST_EVENT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if watching.done():
                watching.result()
            if not told.done():
                say("the job has ended, and the node sent no event of it")
        finally:
            watching.cancel()
        result = {
            "torrent": MessageToDict(torrent),
            "result": MessageToDict(last),
            "events": job.events,
        }
        if arguments.then:
            result["then"] = await act(arguments.then, list(last.paths))
        return result


def reason(error: grpc.aio.AioRpcError) -> str:
    """The stable reason of a shoal error; empty where no node made it: the connection broke."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return ""


def explain(error: grpc.aio.AioRpcError) -> str:
    """One line: the code, the reason, what a person should know."""
    why = reason(error)
    return f"{error.code().name}{f' ({why})' if why else ''}: {clean(error.details() or '')}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Download a torrent with a shoal node, and watch.")
    parser.add_argument(
        "--endpoint",
        default=os.environ.get("SHOAL_ENDPOINT"),
        help="unix:///PATH, http://HOST:PORT or https://HOST:PORT of the node [$SHOAL_ENDPOINT]",
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="PEM file to verify the node with")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        default=os.environ.get("SHOAL_TOKEN_FILE"),
        help="file that holds the token [$SHOAL_TOKEN_FILE; $SHOAL_TOKEN is the token itself]",
    )
    parser.add_argument("--add", metavar="FILE|MAGNET", help="add this torrent and download it")
    parser.add_argument(
        "--peer",
        type=peer_address,
        action="append",
        metavar="IP:PORT",
        help="a peer that has what --add names; may be repeated",
    )
    parser.add_argument(
        "--torrent",
        help="name, info hash, or at least 4 digits of it [default: the only one]",
    )
    parser.add_argument(
        "--then", metavar="COMMAND", help="run this once it is complete, with the files' paths"
    )
    arguments = parser.parse_args()
    if not arguments.endpoint:
        parser.error("name the node with --endpoint or SHOAL_ENDPOINT")
    if arguments.add and arguments.torrent:
        parser.error("--add says which torrent; --torrent names one that is there")
    if arguments.peer and not arguments.add:
        parser.error("--peer goes with --add")
    return arguments


def main() -> int:
    arguments = parse()
    try:
        token = os.environ.get("SHOAL_TOKEN")
        if not token and arguments.token_file:
            token = Path(arguments.token_file).read_text()
        token = token.strip() if token else None
        result = asyncio.run(run(arguments, token))
    except grpc.aio.AioRpcError as error:
        say(explain(error))
        return 1
    except OSError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("the download goes on; `shoalctl jobs list` shows it")
        return 130
    print(json.dumps(result, indent=2))
    return 0 if result.get("then", 0) == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
