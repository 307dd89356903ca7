//! The contract's fields and functions. Order here is the order in which they are shown. Never here:
//! how.

use super::{Alias, Class, Field, Function};

const fn field(
    name: &'static str,
    kind: &'static str,
    range: &'static str,
    doc: &'static str,
) -> Field {
    Field { name, kind, optional: false, range, doc }
}

const fn optional(
    name: &'static str,
    kind: &'static str,
    range: &'static str,
    doc: &'static str,
) -> Field {
    Field { name, kind, optional: true, range, doc }
}

const fn call(
    library: &'static str,
    name: &'static str,
    params: &'static [(&'static str, &'static str)],
    returns: &'static [&'static str],
    doc: &'static str,
) -> Function {
    Function { library, name, doc, params, returns }
}

/// Every named type that is no table.
pub const ALIASES: &[Alias] = &[
    Alias {
        name: "Choice",
        kind: "integer|shoal.Peer|false|nil",
        doc: "integer    # 1..#peers: ask that peer\nshoal.Peer # the same, as the peer itself\n\
              false      # nobody now; the 2nd result says after how many ms to ask again\n\
              nil        # no opinion: the default policy decides",
    },
    Alias { name: "Feature", kind: "$features", doc: "" },
    Alias { name: "Native", kind: "$natives", doc: "" },
    Alias { name: "EventName", kind: "$events", doc: "" },
    Alias { name: "Fault", kind: "$faults", doc: "" },
];

/// Every table.
pub const CLASSES: &[Class] = &[
    Class {
        name: "Peer",
        doc: "A connected peer. Read-only, and the same table every time: keep its id, not the \
              table.",
        fields: PEER,
    },
    Class {
        name: "Chunk",
        doc: "What is to be fetched: a piece, or 1 MiB of one. Read-only.",
        fields: CHUNK,
    },
    Class { name: "Download", doc: "The download it is for. Read-only.", fields: DOWNLOAD },
    Class {
        name: "Ctx",
        doc: "Everything but the peers. Read-only, except for what is inside `state`.",
        fields: CTX,
    },
    Class {
        name: "Event",
        doc: "What happened: the second argument of the functions in `on`. Read-only.",
        fields: EVENT,
    },
    Class { name: "Order", doc: "How chunks are begun: what `order` may return.", fields: ORDER },
    Class {
        name: "Param",
        doc: "A parameter that the operator may set: `--set name=value`.",
        fields: PARAM,
    },
    Class {
        name: "Policy",
        doc: "What a script returns. All but `api` may be left out.",
        fields: POLICY,
    },
    Class {
        name: "Swarm",
        doc: "Of test files: the functions that `swarm{…}` gives.",
        fields: SWARM,
    },
];

const PEER: &[Field] = &[
    field("id", "string", "40 hexadecimal digits", "its peer id; use it as a key in ctx.state"),
    field("addr", "string", "`ip:port`", "where it is reached"),
    field(
        "labels",
        "table<string,string>",
        "at most 16 of 64 bytes",
        "its operator's labels; nil where it has none of that name",
    ),
    field(
        "uploaded",
        "integer",
        "bytes, ≥ 0",
        "what it has served in its life: as it reported last, and what we received or asked for \
         since",
    ),
    field(
        "downloaded",
        "integer",
        "bytes, ≥ 0",
        "what it has downloaded in its life, as it reports",
    ),
    field(
        "inflight",
        "integer",
        "chunks, ≥ 0",
        "what we have outstanding there, earlier chunks of this batch included",
    ),
    field("slots", "integer", "chunks, ≥ 0", "what we may have outstanding there"),
    field("rate", "number", "bytes/s, 0 = unknown", "what we get from it, smoothed"),
    field("rtt_ms", "number", "ms, 0 = unknown", "how long the first byte takes, smoothed"),
    field("failures", "integer", "chunks, ≥ 0", "chunks that it failed, in this download"),
    field("fail_streak", "integer", "chunks, ≥ 0", "the same without a success since"),
    field("tried", "boolean", "", "it failed this very chunk"),
    field("is_seed", "boolean", "", "it has every chunk"),
    field("estimated", "boolean", "", "it reports no `uploaded`: ours is a guess"),
    field("client", "string", "at most 64 bytes", "what it calls itself; anybody can say anything"),
];

const CHUNK: &[Field] = &[
    field("index", "integer", "from 0", "the piece"),
    field("name", "string", "`file1.webm.part3`", "its name; parts are counted from 1"),
    field(
        "size",
        "integer",
        "bytes, ≥ 1",
        "what is to be fetched: the piece, or 1 MiB of a larger one",
    ),
    field("offset", "integer", "bytes, ≥ 0", "where in the piece"),
    field("availability", "integer", "peers, ≥ 0", "connected peers that have it"),
    field("attempts", "integer", "≥ 0", "how often it was tried; 0 on the first try"),
    field("priority", "integer", "0 = ordinary", "how urgent it is"),
    optional("deadline_ms", "integer", "ms from now, ≥ 0", "until when it is wanted"),
];

const DOWNLOAD: &[Field] = &[
    field("id", "string", "40 hexadecimal digits", "the info hash"),
    field("name", "string", "", "the torrent's name"),
    field("total", "integer", "bytes, ≥ 0", "all that is wanted of it"),
    field("done", "integer", "bytes, 0 to total", "what of that is verified"),
    field("rate", "number", "bytes/s, ≥ 0", "from all peers together, smoothed"),
    field("endgame", "boolean", "", "nothing is left to begin: the last chunks are on their way"),
    field("elapsed_ms", "integer", "ms, ≥ 0", "since it began"),
];

const CTX: &[Field] = &[
    field(
        "chunk",
        "shoal.Chunk",
        "",
        "what is to be fetched, or what an event is about; nil in `init`, `order`, `slots` and in \
         events without a chunk",
    ),
    field("download", "shoal.Download", "", "the download"),
    field(
        "params",
        "table<string, string|number|boolean>",
        "",
        "the parameters, as the operator set them",
    ),
    field(
        "state",
        "table",
        "plain data, 64 KiB",
        "yours, one for each download; kept when the script is set again, see `version`",
    ),
    field(
        "now_ms",
        "integer",
        "ms, only ever more",
        "the time; no time of day, and virtual in tests",
    ),
    field("sampled", "boolean", "", "`peers` is a random sample of more than 256"),
];

const EVENT: &[Field] = &[
    optional("peer", "shoal.Peer", "", "who: not in tick and finished"),
    optional("chunk", "shoal.Chunk", "", "what: in chunk_done and chunk_failed"),
    optional("bytes", "integer", "bytes, ≥ 1", "how much came, in chunk_done"),
    optional("ms", "number", "ms, ≥ 0", "how long it took, in chunk_done"),
    optional("kind", "shoal.Fault", "", "how it failed, in chunk_failed"),
];

const ORDER: &[Field] = &[
    optional("strategy", "$orders", "default \"rarest\"", "which is begun first"),
    optional(
        "window",
        "integer",
        "chunks, 1 to 256",
        "look only at the first so many missing ones, in order of index; default: all",
    ),
    optional(
        "duplicate",
        "boolean",
        "default true",
        "the last chunks may be fetched from two peers at once",
    ),
];

const PARAM: &[Field] = &[
    field("type", "\"number\"|\"integer\"|\"string\"|\"boolean\"|\"enum\"", "", "what it takes"),
    field("default", "any", "of that type", "what it is where nobody sets it"),
    optional("min", "number", "", "the least"),
    optional("max", "number", "", "the greatest"),
    optional("values", "string[]", "", "those of an enum"),
    optional("doc", "string", "", "what it means, for whoever sets it"),
];

const POLICY: &[Field] = &[
    field("api", "1", "", "the contract it is written for"),
    optional("name", "string", "at most 64 bytes", "its name"),
    optional("description", "string", "at most 1 KiB", "what it does, one line"),
    optional("version", "integer", "≥ 1, default 1", "of the shape of ctx.state"),
    optional("params", "table<string, shoal.Param>", "at most 64", "what the operator may set"),
    optional(
        "requires",
        "shoal.Feature[]",
        "",
        "what it cannot do without: not loaded where the node has it not",
    ),
    optional(
        "init",
        "fun(ctx: shoal.Ctx)",
        "",
        "called before anything else, once for each download; again after a reload",
    ),
    optional(
        "score",
        "fun(ctx: shoal.Ctx, peer: shoal.Peer): number?",
        "",
        "the highest is asked; nil = not this one",
    ),
    optional(
        "choose",
        "fun(ctx: shoal.Ctx, peers: shoal.Peer[]): shoal.Choice, (string|number)?",
        "",
        "instead of score: who is asked, and why",
    ),
    optional(
        "order",
        "fun(ctx: shoal.Ctx): $orders|shoal.Order",
        "",
        "in which order chunks are begun; asked at the start, every second, and when the endgame \
         begins",
    ),
    optional(
        "slots",
        "fun(ctx: shoal.Ctx, peer: shoal.Peer): integer?",
        "",
        "chunks in flight that we allow at that peer, 0 = none; asked with order, and for each \
         new peer",
    ),
    optional(
        "on",
        "table<shoal.EventName, fun(ctx: shoal.Ctx, ev: shoal.Event)>",
        "",
        "what is called when something happens",
    ),
    optional(
        "migrate",
        "fun(state: table, from_version: integer): table",
        "",
        "turns the state of a lower version into one of this",
    ),
];

const SWARM: &[Field] = &[
    field(
        "choose",
        "fun(): table",
        "",
        "one decision, and what follows from it: { peer, index, asked, verdict, reason, ms, us }",
    ),
    field(
        "share",
        "fun(n: integer, before: fun(i: integer)?): table<string, number>",
        "",
        "n decisions without consequences: the share of each peer, and of \"abstained\", \
         \"deferred\", …",
    ),
    field("set", "fun(peer: string, fields: table)", "", "changes what is known of a peer"),
    field("peer", "fun(peer: string): table", "", "{ uploaded, inflight, slots, failures, tried }"),
    field("chunk", "fun(fields: table)", "", "changes the chunk"),
    field("download", "fun(fields: table)", "", "changes the download"),
    field("advance", "fun(ms: integer)", "", "moves the clock; every second ticks"),
    field(
        "event",
        "fun(name: shoal.EventName, event: table?)",
        "",
        "something happens: { peer, chunk, bytes, ms, kind }",
    ),
    field("order", "fun(): shoal.Order", "", "asks for the order"),
    field(
        "slots",
        "fun(peer: string): integer",
        "",
        "asks for the slots, as the engine would give them",
    ),
];

const PEERS: (&str, &str) = ("peers", "shoal.Peer[]");
const VALUE: (&str, &str) = ("key", "string|fun(peer: shoal.Peer): number?");
const LINE: &[(&str, &str)] = &[("format", "string"), ("...", "any")];

/// Every function of the libraries that a policy has.
pub const FUNCTIONS: &[Function] = &[
    call(
        "shoal",
        "has",
        &[("feature", "shoal.Feature")],
        &["boolean"],
        "Whether this node has a feature; the names are those of `requires`: `choose`, `events`, \
         `labels`, `log`, `metric`, `migrate`, `order`, `params`, `score`, `slots`, `state`.",
    ),
    call(
        "shoal",
        "argmin",
        &[PEERS, VALUE],
        &["integer?"],
        "The index of the peer with the least value of a field or a function; one whose value is \
         nil is left out. Ties go to the least `uploaded`, the fewest in flight, the lowest id. \
         Peers with `tried` are not left out.",
    ),
    call("shoal", "argmax", &[PEERS, VALUE], &["integer?"], "The same for the greatest value."),
    call(
        "shoal",
        "weighted",
        &[PEERS, ("weight", "fun(peer: shoal.Peer): number?")],
        &["integer?"],
        "An index at random, in proportion to the weight; nil where no weight is positive.",
    ),
    call(
        "shoal",
        "pick2",
        &[PEERS],
        &["integer?", "integer?"],
        "Two different indexes at random; twice the same where there is one peer, nil where there \
         is none.",
    ),
    call(
        "shoal",
        "builtin",
        &[("name", "shoal.Native"), ("ctx", "shoal.Ctx"), PEERS],
        &["integer?"],
        "The index that a native policy would choose among these peers: `lowest_uploaded` (the \
         default), `least_inflight`, `fastest`, `two_choices`, `weighted_random`, `random`, \
         `round_robin`.",
    ),
    call(
        "shoal",
        "hash",
        &[("s", "string|integer"), ("seed", "integer?")],
        &["integer"],
        "A hash of 32 bits, the same on every node.",
    ),
    call("shoal", "random", &[], &["number"], "At random in [0, 1), from the policy's own seed."),
    call(
        "shoal",
        "cidr",
        &[("addr", "string"), ("network", "string")],
        &["boolean"],
        "Whether `ip:port` or `ip` is inside `10.0.0.0/8`.",
    ),
    call(
        "shoal",
        "split",
        &[("s", "string"), ("separator", "string")],
        &["string[]"],
        "The parts between separators of 1 to 16 bytes; at most 1024.",
    ),
    call(
        "shoal",
        "starts_with",
        &[("s", "string"), ("prefix", "string")],
        &["boolean"],
        "Whether it does.",
    ),
    call(
        "shoal",
        "glob",
        &[("s", "string"), ("pattern", "string")],
        &["boolean"],
        "Whether it matches, as in a shell: `*` and `?`.",
    ),
    call("log", "debug", LINE, &[], "A line for the node's log, at most 20 a second."),
    call("log", "info", LINE, &[], "The same, and so on."),
    call("log", "warn", LINE, &[], "The same, and so on."),
    call("log", "error", LINE, &[], "The same, and so on."),
    call(
        "metric",
        "inc",
        &[("name", "string"), ("n", "number?")],
        &[],
        "Adds to a counter, 1 where it is not said. A policy has 16 names of `a-z`, `0-9`, `_`.",
    ),
    call("metric", "set", &[("name", "string"), ("value", "number")], &[], "Sets a gauge."),
    call(
        "metric",
        "observe",
        &[("name", "string"), ("value", "number")],
        &[],
        "A sample, of which the mean is shown.",
    ),
];

/// The functions that only test files have.
pub const GLOBALS: &[Function] = &[
    call(
        "",
        "policy",
        &[("name", "string")],
        &[],
        "Names the shipped script under test, where `shoalctl policy test` is given none.",
    ),
    call("", "test", &[("name", "string"), ("run", "fun()")], &[], "Declares a test."),
    call(
        "",
        "swarm",
        &[("fields", "table")],
        &["shoal.Swarm"],
        "A swarm of its own, with the policy loaded anew: { peers, chunk, download, params, seed, \
         allow_errors }.",
    ),
    call(
        "",
        "expect",
        &[("value", "any"), ("expected", "any"), ("message", "string?")],
        &[],
        "Ends the test where they differ; tables are compared by what is in them.",
    ),
    call(
        "",
        "expect_between",
        &[("value", "number"), ("low", "number"), ("high", "number"), ("message", "string?")],
        &[],
        "Ends the test where it is outside.",
    ),
    call(
        "",
        "expect_true",
        &[("value", "any"), ("message", "string?")],
        &[],
        "Ends the test where it is false or nil.",
    ),
];
