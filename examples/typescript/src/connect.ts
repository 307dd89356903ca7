// From an endpoint to typed clients, and from an error to a line. Everything here is worth taking
// along into a program of your own.

import { readFileSync } from "node:fs";
import * as path from "node:path";

import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";
import * as protobuf from "protobufjs";

import type { ProtoGrpcType as NodeTypes } from "../generated/node";
import type { ProtoGrpcType as PeerTypes } from "../generated/peer";
import type { ProtoGrpcType as TorrentTypes } from "../generated/torrent";

/** Where the node's proto files are: beside the compiled program's folder `dist`. */
const PROTO = path.resolve(__dirname, "../../../../proto");

/** The options that `npm run generate` has too: types and values have to agree. */
const DECODED: protoLoader.Options = {
  includeDirs: [PROTO],
  // 64-bit numbers as text: a JavaScript number holds 53 bits.
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
};

/** What it takes to reach a node. */
export interface Place {
  /** unix:///PATH, http://HOST:PORT or https://HOST:PORT. */
  endpoint: string;
  /** The PEM file that an https node is verified with; without one, those of Node.js are. */
  ca: string | undefined;
  /** Over the Unix socket the node knows its user, elsewhere it wants a token. */
  token: string | undefined;
}

function load<Types>(file: string): Types {
  const definition = protoLoader.loadSync(`shoal/v1/${file}.proto`, DECODED);
  return grpc.loadPackageDefinition(definition) as unknown as Types;
}

function credentials(place: Place): grpc.ChannelCredentials {
  if (!place.endpoint.startsWith("https://")) {
    return grpc.credentials.createInsecure();
  }
  return grpc.credentials.createSsl(place.ca === undefined ? null : readFileSync(place.ca));
}

/** Sends a token with each call. */
function bearer(token: string): grpc.Interceptor {
  return (options, nextCall) =>
    new grpc.InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set("authorization", `Bearer ${token}`);
        next(metadata, listener);
      },
    });
}

function isLoopback(target: string): boolean {
  const host = target.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

/** Opens one channel, and the clients of three services over it. */
export function connect(place: Place) {
  const { endpoint, token } = place;
  const target = endpoint.replace(/^https?:\/\//, "").replace(/\/$/, "");
  const plain = !/^(unix|https):/.test(endpoint);
  if (token !== undefined && plain && !isLoopback(target)) {
    throw new Error(`${endpoint}: a token could be read on the way; use https`);
  }
  const credential = credentials(place);
  const channel = new grpc.Channel(target, credential, {
    // A proxy of the environment is not for nodes.
    "grpc.enable_http_proxy": 0,
    // A socket's path is no :authority that servers take. grpc-js sends "localhost" by itself; other
    // libraries (grpcio, grpc-java) have to be told.
    ...(endpoint.startsWith("unix:") ? { "grpc.default_authority": "localhost" } : {}),
    // A metainfo file has up to 16 MiB; what is taken is 4 MiB unless told.
    "grpc.max_receive_message_length": 17 * 1024 * 1024,
  });
  const options: grpc.ClientOptions = {
    channelOverride: channel,
    interceptors: token === undefined ? [] : [bearer(token)],
  };
  const { NodeService } = load<NodeTypes>("node").shoal.v1;
  const { PeerService } = load<PeerTypes>("peer").shoal.v1;
  const { TorrentService } = load<TorrentTypes>("torrent").shoal.v1;
  return {
    node: new NodeService(target, credential, options),
    peer: new PeerService(target, credential, options),
    torrents: new TorrentService(target, credential, options),
    close: () => channel.close(),
  };
}

/** A call that answers once, as a promise. */
export function once<Reply>(call: (done: grpc.requestCallback<Reply>) => void): Promise<Reply> {
  return new Promise((resolve, reject) => {
    call((error, reply) => {
      if (error !== null) {
        reject(error);
      } else if (reply === undefined) {
        reject(new Error("an answer without a message"));
      } else {
        resolve(reply);
      }
    });
  });
}

/** Longest time for a call that answers once. Streams have no deadline: it would end the stream. */
export function soon(): grpc.CallOptions {
  return { deadline: Date.now() + 30_000 };
}

/** Whether something thrown came from a call. */
export function isServiceError(error: unknown): error is grpc.ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}

const RPC = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`).root;

/** The stable reason of a shoal error; empty where no node made it: the connection broke. */
export function reason(error: grpc.ServiceError): string {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Buffer)) {
    return "";
  }
  const status = RPC.lookupType("google.rpc.Status").decode(bytes) as unknown as {
    details: { typeUrl: string; value: Uint8Array }[];
  };
  const detail = status.details.find((any) => any.typeUrl.endsWith("/google.rpc.ErrorInfo"));
  if (detail === undefined) {
    return "";
  }
  const info = RPC.lookupType("google.rpc.ErrorInfo").decode(detail.value);
  return (info as unknown as { reason: string }).reason;
}

/** One line: the code, the stable reason, what a person should know. */
export function explain(error: grpc.ServiceError): string {
  const why = reason(error);
  return `${grpc.status[error.code]}${why === "" ? "" : ` (${why})`}: ${clean(error.details)}`;
}

/** Makes a name that came from elsewhere safe for a terminal. */
export function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\ufffd");
}
