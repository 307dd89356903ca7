---@meta shoal
-- Type definitions for shoal policies (api = 1). A test fails when they and the node differ.
-- Editor set-up: point the workspace library of the Lua language server at this folder, with the
-- runtime version "Lua 5.4".

---@class shoal.Peer                  # read-only; the same table is reused between calls: copy what you keep
---@field id string                   # stable peer id (40 hexadecimal digits). Use this as a key in ctx.state
---@field addr string                 # "ip:port"
---@field labels table<string,string> # operator labels, e.g. labels.zone; nil where a peer has none of that name
---@field uploaded integer            # total bytes this peer has uploaded (projected: as last reported, plus what we received or requested since; the default policy minimises this)
---@field downloaded integer          # total bytes this peer has downloaded
---@field inflight integer            # our chunks outstanding at this peer, now
---@field slots integer               # how many we may have outstanding there; always more than inflight
---@field rate number                 # smoothed bytes/s we get from it (0 = unknown)
---@field rtt_ms number               # smoothed first-byte latency (0 = unknown)
---@field failures integer            # failed chunks from this peer, this download
---@field fail_streak integer         # consecutive failures; 0 after a success
---@field tried boolean               # true: already failed THIS chunk
---@field is_seed boolean             # has everything
---@field estimated boolean           # true: `uploaded` is our estimate, the peer reports none
---@field client string               # what it calls itself

---@class shoal.Chunk                 # read-only
---@field index integer               # 0-based piece index
---@field name string                 # "file1.webm.part3"
---@field size integer                # bytes to fetch now: the piece, or 1 MiB of a larger one
---@field offset integer              # where in the piece
---@field availability integer        # how many known peers have it
---@field attempts integer            # 0 on the first try
---@field priority integer            # 0 = ordinary
---@field deadline_ms integer?        # nil: none

---@class shoal.Download              # read-only
---@field id string                   # info hash (40 hexadecimal digits)
---@field total integer               # bytes in all
---@field done integer                # bytes verified
---@field rate number                 # smoothed bytes/s from all peers
---@field endgame boolean             # the last chunks are being fetched
---@field elapsed_ms integer          # since the download began
---@field name string                 # the torrent's name

---@class shoal.Ctx                   # read-only, except for what is inside `state`
---@field chunk shoal.Chunk           # what is to be fetched; not there in init
---@field download shoal.Download
---@field params table<string, string|number|boolean>
---@field state table                 # yours, one per download; empty again after a reload or a restart of the script
---@field now_ms integer              # monotonic; virtual in tests
---@field sampled boolean             # true: `peers` is a random sample of the candidates

---@alias shoal.Choice integer|shoal.Peer|false|nil
---| 1..#peers  # ask this peer
---| shoal.Peer # the same, given as the peer itself
---| false      # nobody now; ask me again (2nd result: after how many ms)
---| nil        # no opinion: the default policy decides

---@class shoal.Param
---@field type "number"|"integer"|"string"|"boolean"|"enum"
---@field default any
---@field min number?
---@field max number?
---@field values string[]?            # of an enum
---@field doc string?

---@class shoal.Policy
---@field api 1
---@field name string?
---@field description string?
---@field version integer?
---@field params table<string, shoal.Param>?
---@field requires string[]?                                 # e.g. {"labels"}; see shoal.has
---@field init? fun(ctx: shoal.Ctx)                           # once per download, before its first decision
---@field score? fun(ctx: shoal.Ctx, peer: shoal.Peer): number?   # highest wins; nil = not this one
---@field choose? fun(ctx: shoal.Ctx, peers: shoal.Peer[]): shoal.Choice, (string|number)?

shoal = {}
---@type integer
shoal.api = 1
---Does this node have the feature? The same names as in `requires`.
---@param feature "choose"|"labels"|"log"|"metric"|"params"|"score"|"state"
---@return boolean
function shoal.has(feature) end
---Index of the peer with the smallest field or function value; a peer whose value is nil is left out.
---Ties: lowest uploaded, fewest in flight, lowest id. Peers with `tried` are not left out.
---@param peers shoal.Peer[]
---@param key string|fun(p: shoal.Peer): number?
---@return integer?
function shoal.argmin(peers, key) end
---Index of the peer with the largest field or function value; otherwise as argmin.
---@param peers shoal.Peer[]
---@param key string|fun(p: shoal.Peer): number?
---@return integer?
function shoal.argmax(peers, key) end
---Random index, each peer with probability proportional to weight(p); nil where no weight is positive.
---@param peers shoal.Peer[]
---@param weight fun(p: shoal.Peer): number?
---@return integer?
function shoal.weighted(peers, weight) end
---Two different random indexes (the same twice when there is one peer, nil when there is none).
---@param peers shoal.Peer[]
---@return integer?, integer?
function shoal.pick2(peers) end
---Stable 32-bit hash, the same on every node.
---@param s string|integer
---@param seed integer?
---@return integer
function shoal.hash(s, seed) end
---Uniform in [0,1), from the policy's own seeded generator.
---@return number
function shoal.random() end
---Delegate to a native policy: the index that it would choose among these peers.
---@param name "lowest_uploaded"|"least_inflight"|"fastest"|"two_choices"|"weighted_random"|"random"|"round_robin"
---@param ctx shoal.Ctx
---@param peers shoal.Peer[]
---@return integer?
function shoal.builtin(name, ctx, peers) end
---Is addr ("ip:port" or "ip") inside the network ("10.0.0.0/8")?
---@param addr string
---@param network string
---@return boolean
function shoal.cidr(addr, network) end
---The parts between the separators (1 to 16 bytes); at most 1024 parts.
---@param s string
---@param separator string
---@return string[]
function shoal.split(s, separator) end
---@param s string
---@param prefix string
---@return boolean
function shoal.starts_with(s, prefix) end
---Shell-style match with * and ?.
---@param s string
---@param pattern string
---@return boolean
function shoal.glob(s, pattern) end

log = {}
---@param fmt string
function log.debug(fmt, ...) end
---@param fmt string
function log.info(fmt, ...) end
---@param fmt string
function log.warn(fmt, ...) end
---@param fmt string
function log.error(fmt, ...) end

metric = {}
---@param name string # a-z, 0-9 and _; at most 16 names a policy
---@param n number?   # default 1
function metric.inc(name, n) end
---@param name string
---@param v number
function metric.set(name, v) end
---@param name string
---@param v number
function metric.observe(name, v) end
