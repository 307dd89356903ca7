---@meta shoal
-- Type definitions for shoal policies (api = 1). Generated from the node's source: do not edit.
-- Editor set-up: `shoalctl policy init` writes a .luarc.json that points to this file.

---@alias shoal.Choice integer|shoal.Peer|false|nil
---| integer    # 1..#peers: ask that peer
---| shoal.Peer # the same, as the peer itself
---| false      # nobody now; the 2nd result says after how many ms to ask again
---| nil        # no opinion: the default policy decides

---@alias shoal.Feature "choose"|"events"|"labels"|"log"|"metric"|"migrate"|"order"|"params"|"score"|"slots"|"state"

---@alias shoal.Native "lowest_uploaded"|"least_inflight"|"fastest"|"two_choices"|"weighted_random"|"random"|"round_robin"

---@alias shoal.EventName "chunk_done"|"chunk_failed"|"finished"|"peer_added"|"peer_removed"|"tick"

---@alias shoal.Fault "timeout"|"hash"|"disconnect"|"reject"

---A connected peer. Read-only, and the same table every time: keep its id, not the table.
---@class shoal.Peer
---@field id string # its peer id; use it as a key in ctx.state — 40 hexadecimal digits
---@field addr string # where it is reached — `ip:port`
---@field labels table<string,string> # its operator's labels; nil where it has none of that name — at most 16 of 64 bytes
---@field uploaded integer # what it has served in its life: as it reported last, and what we received or asked for since — bytes, ≥ 0
---@field downloaded integer # what it has downloaded in its life, as it reports — bytes, ≥ 0
---@field inflight integer # what we have outstanding there, earlier chunks of this batch included — chunks, ≥ 0
---@field slots integer # what we may have outstanding there — chunks, ≥ 0
---@field rate number # what we get from it, smoothed — bytes/s, 0 = unknown
---@field rtt_ms number # how long the first byte takes, smoothed — ms, 0 = unknown
---@field failures integer # chunks that it failed, in this download — chunks, ≥ 0
---@field fail_streak integer # the same without a success since — chunks, ≥ 0
---@field tried boolean # it failed this very chunk
---@field is_seed boolean # it has every chunk
---@field estimated boolean # it reports no `uploaded`: ours is a guess
---@field client string # what it calls itself; anybody can say anything — at most 64 bytes

---What is to be fetched: a piece, or 1 MiB of one. Read-only.
---@class shoal.Chunk
---@field index integer # the piece — from 0
---@field name string # its name; parts are counted from 1 — `file1.webm.part3`
---@field size integer # what is to be fetched: the piece, or 1 MiB of a larger one — bytes, ≥ 1
---@field offset integer # where in the piece — bytes, ≥ 0
---@field availability integer # connected peers that have it — peers, ≥ 0
---@field attempts integer # how often it was tried; 0 on the first try — ≥ 0
---@field priority integer # how urgent it is — 0 = ordinary
---@field deadline_ms? integer # until when it is wanted — ms from now, ≥ 0

---The download it is for. Read-only.
---@class shoal.Download
---@field id string # the info hash — 40 hexadecimal digits
---@field name string # the torrent's name
---@field total integer # all that is wanted of it — bytes, ≥ 0
---@field done integer # what of that is verified — bytes, 0 to total
---@field rate number # from all peers together, smoothed — bytes/s, ≥ 0
---@field endgame boolean # nothing is left to begin: the last chunks are on their way
---@field elapsed_ms integer # since it began — ms, ≥ 0

---Everything but the peers. Read-only, except for what is inside `state`.
---@class shoal.Ctx
---@field chunk shoal.Chunk # what is to be fetched, or what an event is about; nil in `init`, `order`, `slots` and in events without a chunk
---@field download shoal.Download # the download
---@field params table<string, string|number|boolean> # the parameters, as the operator set them
---@field state table # yours, one for each download; kept when the script is set again, see `version` — plain data, 64 KiB
---@field now_ms integer # the time; no time of day, and virtual in tests — ms, only ever more
---@field sampled boolean # `peers` is a random sample of more than 256

---What happened: the second argument of the functions in `on`. Read-only.
---@class shoal.Event
---@field peer? shoal.Peer # who: not in tick and finished
---@field chunk? shoal.Chunk # what: in chunk_done and chunk_failed
---@field bytes? integer # how much came, in chunk_done — bytes, ≥ 1
---@field ms? number # how long it took, in chunk_done — ms, ≥ 0
---@field kind? shoal.Fault # how it failed, in chunk_failed

---How chunks are begun: what `order` may return.
---@class shoal.Order
---@field strategy? "rarest"|"sequential"|"random" # which is begun first — default "rarest"
---@field window? integer # look only at the first so many missing ones, in order of index; default: all — chunks, 1 to 256
---@field duplicate? boolean # the last chunks may be fetched from two peers at once — default true

---A parameter that the operator may set: `--set name=value`.
---@class shoal.Param
---@field type "number"|"integer"|"string"|"boolean"|"enum" # what it takes
---@field default any # what it is where nobody sets it — of that type
---@field min? number # the least
---@field max? number # the greatest
---@field values? string[] # those of an enum
---@field doc? string # what it means, for whoever sets it

---What a script returns. All but `api` may be left out.
---@class shoal.Policy
---@field api 1 # the contract it is written for
---@field name? string # its name — at most 64 bytes
---@field description? string # what it does, one line — at most 1 KiB
---@field version? integer # of the shape of ctx.state — ≥ 1, default 1
---@field params? table<string, shoal.Param> # what the operator may set — at most 64
---@field requires? shoal.Feature[] # what it cannot do without: not loaded where the node has it not
---@field init? fun(ctx: shoal.Ctx) # called before anything else, once for each download; again after a reload
---@field score? fun(ctx: shoal.Ctx, peer: shoal.Peer): number? # the highest is asked; nil = not this one
---@field choose? fun(ctx: shoal.Ctx, peers: shoal.Peer[]): shoal.Choice, (string|number)? # instead of score: who is asked, and why
---@field order? fun(ctx: shoal.Ctx): "rarest"|"sequential"|"random"|shoal.Order # in which order chunks are begun; asked at the start, every second, and when the endgame begins
---@field slots? fun(ctx: shoal.Ctx, peer: shoal.Peer): integer? # chunks in flight that we allow at that peer, 0 = none; asked with order, and for each new peer
---@field on? table<shoal.EventName, fun(ctx: shoal.Ctx, ev: shoal.Event)> # what is called when something happens
---@field migrate? fun(state: table, from_version: integer): table # turns the state of a lower version into one of this

---Of test files: the functions that `swarm{…}` gives.
---@class shoal.Swarm
---@field choose fun(): table # one decision, and what follows from it: { peer, index, asked, verdict, reason, ms, us }
---@field share fun(n: integer, before: fun(i: integer)?): table<string, number> # n decisions without consequences: the share of each peer, and of "abstained", "deferred", …
---@field set fun(peer: string, fields: table) # changes what is known of a peer
---@field peer fun(peer: string): table # { uploaded, inflight, slots, failures, tried }
---@field chunk fun(fields: table) # changes the chunk
---@field download fun(fields: table) # changes the download
---@field advance fun(ms: integer) # moves the clock; every second ticks
---@field event fun(name: shoal.EventName, event: table?) # something happens: { peer, chunk, bytes, ms, kind }
---@field order fun(): shoal.Order # asks for the order
---@field slots fun(peer: string): integer # asks for the slots, as the engine would give them

shoal = {}
---The version of this contract.
---@type integer
shoal.api = 1
---Whether this node has a feature; the names are those of `requires`: `choose`, `events`, `labels`, `log`, `metric`, `migrate`, `order`, `params`, `score`, `slots`, `state`.
---@param feature shoal.Feature
---@return boolean
function shoal.has(feature) end
---The index of the peer with the least value of a field or a function; one whose value is nil is left out. Ties go to the least `uploaded`, the fewest in flight, the lowest id. Peers with `tried` are not left out.
---@param peers shoal.Peer[]
---@param key string|fun(peer: shoal.Peer): number?
---@return integer?
function shoal.argmin(peers, key) end
---The same for the greatest value.
---@param peers shoal.Peer[]
---@param key string|fun(peer: shoal.Peer): number?
---@return integer?
function shoal.argmax(peers, key) end
---An index at random, in proportion to the weight; nil where no weight is positive.
---@param peers shoal.Peer[]
---@param weight? fun(peer: shoal.Peer): number
---@return integer?
function shoal.weighted(peers, weight) end
---Two different indexes at random; twice the same where there is one peer, nil where there is none.
---@param peers shoal.Peer[]
---@return integer?
---@return integer?
function shoal.pick2(peers) end
---The index that a native policy would choose among these peers: `lowest_uploaded` (the default), `least_inflight`, `fastest`, `two_choices`, `weighted_random`, `random`, `round_robin`.
---@param name shoal.Native
---@param ctx shoal.Ctx
---@param peers shoal.Peer[]
---@return integer?
function shoal.builtin(name, ctx, peers) end
---A hash of 32 bits, the same on every node.
---@param s string|integer
---@param seed? integer
---@return integer
function shoal.hash(s, seed) end
---At random in [0, 1), from the policy's own seed.
---@return number
function shoal.random() end
---Whether `ip:port` or `ip` is inside `10.0.0.0/8`.
---@param addr string
---@param network string
---@return boolean
function shoal.cidr(addr, network) end
---The parts between separators of 1 to 16 bytes; at most 1024.
---@param s string
---@param separator string
---@return string[]
function shoal.split(s, separator) end
---Whether it does.
---@param s string
---@param prefix string
---@return boolean
function shoal.starts_with(s, prefix) end
---Whether it matches, as in a shell: `*` and `?`.
---@param s string
---@param pattern string
---@return boolean
function shoal.glob(s, pattern) end

log = {}
---A line for the node's log, at most 20 a second.
---@param format string
---@param ... any
function log.debug(format, ...) end
---The same, and so on.
---@param format string
---@param ... any
function log.info(format, ...) end
---The same, and so on.
---@param format string
---@param ... any
function log.warn(format, ...) end
---The same, and so on.
---@param format string
---@param ... any
function log.error(format, ...) end

metric = {}
---Adds to a counter, 1 where it is not said. A policy has 16 names of `a-z`, `0-9`, `_`.
---@param name string
---@param n? number
function metric.inc(name, n) end
---Sets a gauge.
---@param name string
---@param value number
function metric.set(name, value) end
---A sample, of which the mean is shown.
---@param name string
---@param value number
function metric.observe(name, value) end

-- Of test files (`shoalctl policy test`) only.
---Names the shipped script under test, where `shoalctl policy test` is given none.
---@param name string
function policy(name) end
---Declares a test.
---@param name string
---@param run fun()
function test(name, run) end
---A swarm of its own, with the policy loaded anew: { peers, chunk, download, params, seed, allow_errors }.
---@param fields table
---@return shoal.Swarm
function swarm(fields) end
---Ends the test where they differ; tables are compared by what is in them.
---@param value any
---@param expected any
---@param message? string
function expect(value, expected, message) end
---Ends the test where it is outside.
---@param value number
---@param low number
---@param high number
---@param message? string
function expect_between(value, low, high, message) end
---Ends the test where it is false or nil.
---@param value any
---@param message? string
function expect_true(value, message) end
