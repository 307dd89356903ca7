// Downloads a torrent with a shoal node and follows it.
//
// Adds a torrent where one is given, starts an auto_download (or joins the one at work), follows its
// progress and the node's events until it is complete, runs a command with the files, and prints the
// result as JSON on stdout. Everything else goes to stderr. The job belongs to the node: ending this
// program does not end the download, and a node that is started again goes on with it.

import { spawn } from "node:child_process";
import { once as emitted } from "node:events";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import * as grpc from "@grpc/grpc-js";

import type { AddTorrentRequest } from "../generated/shoal/v1/AddTorrentRequest";
import type { AddTorrentResponse__Output as Added } from "../generated/shoal/v1/AddTorrentResponse";
import type { AutoDownloadResponse__Output as Download } from "../generated/shoal/v1/AutoDownloadResponse";
import type { GetInfoResponse__Output as Info } from "../generated/shoal/v1/GetInfoResponse";
import type { ListTorrentsResponse__Output as Page } from "../generated/shoal/v1/ListTorrentsResponse";
import type { PeerAddress } from "../generated/shoal/v1/PeerAddress";
import type { Torrent__Output as Torrent } from "../generated/shoal/v1/Torrent";
import type { WatchEventsRequest } from "../generated/shoal/v1/WatchEventsRequest";
import type { WatchEventsResponse__Output as Message } from "../generated/shoal/v1/WatchEventsResponse";
import { clean, connect, explain, isServiceError, once, reason, soon, type Place } from "./connect";

type Clients = ReturnType<typeof connect>;

/** Longest time for which a node may be away in the middle, while it is started again. */
const AWAY_MS = 30_000;
/** Time between two attempts to reach it again. */
const RETRY_MS = 500;
/** Longest time from the end of a job to the event that tells of it. */
const LAST_EVENT_MS = 10_000;

/** Something a person has to know, and nothing more. */
class Refused extends Error {}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Reads IP:PORT, with brackets around an IPv6 address. */
function peerAddress(text: string): PeerAddress {
  const [, ip = "", port = ""] = /^\[?([^\]]*)\]?:(\d+)$/.exec(text) ?? [];
  if (isIP(ip) === 0) {
    throw new Refused(`${text} is not IP:PORT`);
  }
  return { ip, port: Number(port) };
}

/** Adds a metainfo file of this side or a magnet link. One that is there already is no error. */
async function add({ torrents }: Clients, source: string, peers: string[]): Promise<Torrent> {
  const request: AddTorrentRequest = { peers: peers.map(peerAddress) };
  if (source.startsWith("magnet:")) {
    request.magnet = source;
  } else {
    request.metainfo = readFileSync(source);
  }
  const added = await once<Added>((done) => torrents.AddTorrent(request, soon(), done));
  if (added.torrent === null) {
    throw new Refused("the node named no torrent");
  }
  say(`${added.already ? "was there" : "added"}: ${clean(added.torrent.name)}`);
  return added.torrent;
}

/** All torrents of the node, page by page. */
async function listTorrents({ torrents }: Clients): Promise<Torrent[]> {
  const all: Torrent[] = [];
  let pageToken = "";
  do {
    const page = await once<Page>((done) => torrents.ListTorrents({ pageToken }, soon(), done));
    all.push(...page.torrents);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return all;
}

/** The torrent of this name, info hash or prefix; the only one where none is named. */
function choose(torrents: Torrent[], wanted: string | undefined): Torrent {
  let fits = wanted === undefined ? torrents : torrents.filter((t) => t.name === wanted);
  if (wanted !== undefined && fits.length === 0 && wanted.length >= 4) {
    fits = torrents.filter((t) => t.infoHash.startsWith(wanted.toLowerCase()));
  }
  const [only] = fits;
  if (only === undefined || fits.length > 1) {
    const found = fits.length === 0 ? "no torrent" : `${fits.length} torrents`;
    throw new Refused(`${found} to choose from; name one of the node's ${torrents.length} with --torrent`);
  }
  return only;
}

/** Says how long to go on trying to reach a node that is away. */
class Patience {
  private lastHeard = Date.now();

  heard(): void {
    this.lastHeard = Date.now();
  }

  /** Waits for another attempt, or throws `error` where it is of no use. */
  async wait(error: unknown): Promise<void> {
    // A node that is there says why: a tracker of it may be unavailable.
    const away =
      isServiceError(error) &&
      error.code === grpc.status.UNAVAILABLE &&
      ["", "SHUTTING_DOWN"].includes(reason(error));
    if (!away || Date.now() - this.lastHeard > AWAY_MS) {
      throw error;
    }
    await sleep(RETRY_MS);
  }
}

/**
 * What happens to a torrent, without end: a snapshot, then events.
 *
 * A reader too slow for the stream takes up where it was. So does one whose node was away; where that
 * was started anew, or the revision is no longer kept, it begins again with a snapshot. `enough` ends
 * it, with CANCELLED: an open stream keeps the program alive.
 */
async function* watch(
  { node }: Clients,
  torrent: string,
  enough: AbortSignal,
): AsyncGenerator<Message, never> {
  let request: WatchEventsRequest = { torrent };
  const patience = new Patience();
  for (;;) {
    const stream = node.WatchEvents(request);
    const cancel = () => stream.cancel();
    enough.addEventListener("abort", cancel);
    try {
      for await (const message of stream as AsyncIterable<Message>) {
        request = { torrent, epoch: message.epoch, afterRevision: message.revision };
        patience.heard();
        yield message;
      }
    } catch (error) {
      const code = isServiceError(error) ? error.code : undefined;
      if (code === grpc.status.OUT_OF_RANGE) {
        request = { torrent };
      } else if (code !== grpc.status.RESOURCE_EXHAUSTED) {
        await patience.wait(error);
      }
    } finally {
      enough.removeEventListener("abort", cancel);
      stream.cancel();
    }
  }
}

/** Waits until the metadata of a magnet link is here. Returns its torrent. */
async function metadata(events: AsyncGenerator<Message, never>): Promise<Torrent> {
  for (;;) {
    // `for await` would close the stream where it ends.
    const { value: message } = await events.next();
    const told = message.event?.torrent;
    for (const torrent of told ? [told] : (message.snapshot?.torrents ?? [])) {
      if (torrent.state !== "TORRENT_STATE_METADATA") {
        return torrent;
      }
      if (message.event?.what === "metadata_failed") {
        throw new Refused(`the metadata cannot be used: ${clean(torrent.error)}`);
      }
    }
  }
}

/** A download as two streams tell of it: that of its call, and the events. */
class Job {
  /** Its number. A node that was started anew gives another one. */
  id: string | undefined;
  /** Events told so far. */
  events = 0;
  /** The stream of its call has ended. */
  isOver = false;
  readonly ended = new Set<string>();
  private tell!: () => void;
  /** Resolved once both streams have told of its end. */
  readonly endTold = new Promise<void>((resolve) => {
    this.tell = resolve;
  });

  /** Looks whether the streams agree; either may be the first. */
  see(): void {
    if (this.id !== undefined && this.ended.has(this.id)) {
      this.tell();
    }
  }
}

/** Prints events, without end. */
async function followEvents(events: AsyncGenerator<Message, never>, job: Job): Promise<void> {
  for await (const { revision, event, snapshot } of events) {
    if (snapshot && job.isOver && job.id !== undefined) {
      // What happened before it is not told one by one.
      if (!snapshot.jobs.some((running) => running.id === job.id)) {
        job.ended.add(job.id);
      }
    } else if (event) {
      job.events += 1;
      const kind = event.kind.replace("EVENT_KIND_", "").toLowerCase();
      say(`event ${revision}: ${kind} ${event.what}: ${clean(event.message)}`);
      if (event.what === "ended" && event.job) {
        job.ended.add(event.job.id);
      }
    }
    job.see();
  }
}

/**
 * Starts or joins the download and prints its progress. Returns its last message.
 *
 * A node that is away in the middle is called again: its job goes on, and the call joins it.
 */
async function followJob(
  { peer }: Clients,
  torrent: string,
  job: Job,
): Promise<Download> {
  const patience = new Patience();
  for (;;) {
    try {
      let last: Download | undefined;
      for await (last of peer.AutoDownload({ torrent }) as AsyncIterable<Download>) {
        patience.heard();
        if (job.id === undefined) {
          say(`${last.joined ? "joined" : "started"} job ${last.jobId}`);
        }
        job.id = last.jobId;
        sayProgress(last);
      }
      if (last !== undefined) {
        job.isOver = true;
        job.see();
        return last;
      }
      throw new Refused("the download ended without a word");
    } catch (error) {
      await patience.wait(error);
    }
  }
}

function sayProgress({ progress: p, waitingFor }: Download): void {
  if (p !== null) {
    say(
      `${p.phase || "done"}: ${p.doneChunks}/${p.totalChunks} chunks, ${p.doneBytes} of ` +
        `${p.totalBytes} bytes, ${p.rateBps} bytes/s, ${p.peers} peers`,
    );
  }
  if (waitingFor.length > 0) {
    say(`nobody has: ${waitingFor.map(clean).join(", ")}`);
  }
}

/** Runs a program with the paths of the files as its arguments. Returns its exit code. */
async function act(program: string, paths: string[]): Promise<number> {
  // Its standard output goes to ours of errors: stdout is the result.
  const child = spawn(program, paths, { stdio: ["ignore", process.stderr, "inherit"] });
  const [code] = (await emitted(child, "exit")) as [number | null];
  return code ?? 1;
}

interface Arguments extends Place {
  add: string | undefined;
  peers: string[];
  torrent: string | undefined;
  then: string | undefined;
}

interface Result {
  torrent: Torrent;
  result: Download;
  events: number;
  then?: number;
}

async function run(args: Arguments): Promise<Result> {
  const clients = connect(args);
  const enough = new AbortController();
  try {
    const info = await once<Info>((done) => clients.node.GetInfo({}, soon(), done));
    say(`shoald ${info.version} at ${info.peerAddress || "no peer address"}`);
    let torrent: Torrent;
    if (args.add !== undefined) {
      torrent = await add(clients, args.add, args.peers);
    } else {
      const torrents = await listTorrents(clients);
      for (const t of torrents) {
        const state = t.state.replace("TORRENT_STATE_", "").toLowerCase();
        say(`${t.infoHash} ${clean(t.name)}: ${state}, ${t.chunksHave}/${t.chunks} chunks`);
      }
      torrent = choose(torrents, args.torrent);
    }

    const events = watch(clients, torrent.infoHash, enough.signal);
    // The snapshot first: every event from here on is ours to see.
    const { value: first } = await events.next();
    if (first.snapshot?.torrents.some((t) => t.state === "TORRENT_STATE_METADATA")) {
      torrent = await metadata(events);
    }
    const job = new Job();
    const watching = followEvents(events, job);
    // Whoever fails first is waited for below.
    watching.catch(() => {});
    const last = await followJob(clients, torrent.infoHash, job);
    const late = sleep(LAST_EVENT_MS, undefined, { ref: false }).then(() => {
      say("the job has ended, and the node sent no event of it");
    });
    await Promise.race([watching, job.endTold, late]);
    const result: Result = { torrent, result: last, events: job.events };
    return args.then === undefined ? result : { ...result, then: await act(args.then, last.paths) };
  } finally {
    enough.abort();
    clients.close();
  }
}

const USAGE = `usage: npm start -- [--endpoint ENDPOINT] [--add FILE|MAGNET [--peer IP:PORT]... | --torrent T]
  --endpoint    unix:///PATH, http://HOST:PORT or https://HOST:PORT of the node [$SHOAL_ENDPOINT]
  --ca          PEM file to verify the node with
  --token-file  file that holds the token [$SHOAL_TOKEN_FILE; $SHOAL_TOKEN is the token itself]
  --add         add this torrent and download it
  --peer        a peer that has what --add names; may be repeated
  --torrent     name, info hash, or at least 4 digits of it [default: the only one]
  --then        run this program once it is complete, with the files' paths`;

function readArguments(): Arguments {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      endpoint: text,
      ca: text,
      "token-file": text,
      add: text,
      peer: { type: "string", multiple: true },
      torrent: text,
      then: text,
    },
  });
  const endpoint = values.endpoint ?? process.env["SHOAL_ENDPOINT"];
  if (!endpoint) {
    throw new Error("name the node with --endpoint or SHOAL_ENDPOINT");
  }
  const file = values["token-file"] ?? process.env["SHOAL_TOKEN_FILE"];
  const token = (process.env["SHOAL_TOKEN"] ?? (file ? readFileSync(file, "utf8") : "")).trim();
  const { add, ca, peer: peers = [], then, torrent } = values;
  if (add !== undefined && torrent !== undefined) {
    throw new Error("--add says which torrent; --torrent names one that is there");
  }
  return { endpoint, ca, token: token || undefined, add, peers, torrent, then };
}

async function main(): Promise<number> {
  let args: Arguments;
  try {
    args = readArguments();
  } catch (error) {
    say(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return 2;
  }
  process.once("SIGINT", () => {
    say("the download goes on; `shoalctl jobs list` shows it");
    process.exit(130);
  });
  try {
    const result = await run(args);
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    return (result.then ?? 0) === 0 ? 0 : 1;
  } catch (error) {
    if (isServiceError(error)) {
      say(explain(error));
    } else {
      say(error instanceof Error ? error.message : String(error));
    }
    return 1;
  }
}

main().then((code) => {
  process.exitCode = code;
});
