//! The words of every error, each with the change to a good plan that brings it about.

use super::*;

/// What stands in the plan, what is written instead, and the error.
const ERRORS: &[(&str, &str, &str)] = &[
    (
        "name = \"full\"",
        "name = \"Full Plan\"",
        "name: 'Full Plan' is no name; take 1 to 64 of a-z, 0-9, '_'",
    ),
    ("name = \"full\"", "name = 3", "name: a text is needed, and this is a whole number"),
    ("name = \"full\"", "", "name is missing; write such as name = \"two_zones\""),
    (
        "description = \"everything\"",
        "description = \"a\\nb\"",
        "description: may be one line of at most 256 characters",
    ),
    (
        "content = \"512MiB\"",
        "content = \"much\"",
        "content: 'much' is no size such as 512MiB or 1GB",
    ),
    (
        "content = \"512MiB\"",
        "content = 1.5",
        "content: a size such as '512MiB' is needed, and this is a number",
    ),
    (
        "content = \"512MiB\"",
        "content = \"0\"",
        "content: '0' is out of range; take one from 1 to 16TiB",
    ),
    (
        "content = \"512MiB\"",
        "content = \"1EiB\"",
        "content: '1EiB' is out of range; take one from 1 to 16TiB",
    ),
    (
        "content = \"512MiB\"",
        "content = \"1TiB\"",
        "content: has 4194304 pieces, and may have 1048576; make 'piece' larger",
    ),
    ("content = \"512MiB\"", "", "content is missing; write such as content = \"512MiB\""),
    (
        "content = \"512MiB\"",
        "contents = \"512MiB\"",
        "'contents' is no key here; did you mean 'content'?",
    ),
    (
        "piece = \"256KiB\"",
        "piece = \"300KiB\"",
        "piece: 307200 bytes are no power of two; take one such as '512KiB'",
    ),
    (
        "piece = \"256KiB\"",
        "piece = \"8KiB\"",
        "piece: '8KiB' is out of range; take one from 16KiB to 16MiB",
    ),
    ("limit = \"10m\"", "limit = \"8d\"", "limit: '8d' is out of range; take one from 1s to 7d"),
    (
        "limit = \"10m\"",
        "limit = 600",
        "limit: a duration such as '20ms' is needed, and this is a whole number",
    ),
    (
        "limit = \"10m\"",
        "limit = \"10 minutes\"",
        "limit: '10 minutes' is no duration such as 500us, 20ms, 1.5s, 3m or 1h",
    ),
    (
        "limit = \"10m\"",
        "quantum = 1",
        "'quantum' is no key here; there are name, description, content, piece, limit, link, zone, between, tracker, class, fault, expect",
    ),
    (
        "up = \"20MB/s\"",
        "up = \"20Mbit/s\"",
        "link: up: '20Mbit/s' is no rate such as 20MB/s or 512KiB/s, bytes a second",
    ),
    (
        "up = \"20MB/s\"",
        "up = 100",
        "link: up: '100' is out of range; take one from 1KiB/s to 1TiB/s",
    ),
    (
        "up = \"20MB/s\"",
        "latency = \"2m\"",
        "link: latency: '2m' is out of range; take one from 0s to 1m",
    ),
    ("up = \"20MB/s\"", "upp = \"20MB/s\"", "link: 'upp' is no key here; did you mean 'up'?"),
    ("[link]", "[[link]]", "link: a table is needed, and this is a list"),
    ("[[zone]]\nname = \"a\"", "[zone]\nname = \"a\"", "line 11: duplicate key"),
    (
        "name = \"b-1\"",
        "name = \"a\"",
        "zone 2: name: there is a zone 'a' already; take another name",
    ),
    ("name = \"b-1\"", "title = \"b\"", "zone 2: 'title' is no key here; there is only name"),
    (
        "zones = [\"b-1\", \"a\"]",
        "zones = [\"b-1\", \"aa\"]",
        "between 1: zones: 'aa' is no zone; did you mean 'a'?",
    ),
    (
        "zones = [\"b-1\", \"a\"]",
        "zones = [\"a\"]",
        "between 1: zones: takes two zones, and these are 1",
    ),
    (
        "zones = [\"b-1\", \"a\"]",
        "zones = [\"a\", \"a\"]",
        "between 1: zones: names the same zone twice; take two",
    ),
    (
        "zones = [\"b-1\", \"a\"]",
        "zones = \"a\"",
        "between 1: zones: a list of texts such as [\"a\", \"b\"] is needed",
    ),
    (
        "rate = \"20MB/s\"",
        "rate = \"unlimited\"",
        "between 1: rate: 'unlimited' is no rate such as 20MB/s or 512KiB/s, bytes a second",
    ),
    (
        "latency = \"20ms\"",
        "latency = \"20ms\"\n[[between]]\nzones = [\"a\", \"b-1\"]",
        "between 2: zones: these two have a [[between]] already; write one for both ways",
    ),
    (
        "interval = \"100s\"",
        "interval = \"0s\"",
        "tracker: interval: '0s' is out of range; take one from 1s to 7d",
    ),
    (
        "interval = \"100s\"",
        "interval = \"100s\"\nmin_interval = \"101s\"",
        "tracker: min_interval: is longer than 'interval'; make it shorter",
    ),
    (
        "interval = \"100s\"",
        "numwant = 0",
        "tracker: numwant: '0' is out of range; take one from 1 to 2000",
    ),
    (
        "count = 101",
        "count = 0",
        "class 'leecher': count: '0' is out of range; take one from 1 to 100000",
    ),
    ("count = 101", "count = 1", "class 'leecher': count: 1 hosts are too few for 2 zones"),
    (
        "count = 101",
        "count = 100001",
        "class 'leecher': count: '100001' is out of range; take one from 1 to 100000",
    ),
    ("count = 101", "count = 99999", "class: have 100001 hosts together, and may have 100000"),
    (
        "count = 101",
        "cuont = 101",
        "class 'leecher': 'cuont' is no key here; did you mean 'count'?",
    ),
    ("count = 101", "", "class 'leecher': count is missing; write such as count = 100"),
    (
        "name = \"leecher\"",
        "name = \"seed\"",
        "class: there is a class 'seed' already; take another name, or give it 'zones'",
    ),
    (
        "zones = [\"a\", \"b-1\"]\nup",
        "up",
        "class 'leecher': zone: is missing, and the plan has several; name one, or 'zones'",
    ),
    (
        "zones = [\"a\", \"b-1\"]\nup",
        "zone = \"a\"\nzones = [\"a\"]\nup",
        "class 'leecher': zones: and 'zone' exclude each other; leave one out",
    ),
    (
        "zones = [\"a\", \"b-1\"]\nup",
        "zones = []\nup",
        "class 'leecher': zones: is empty; name one zone or more",
    ),
    (
        "zones = [\"a\", \"b-1\"]\nup",
        "zones = [\"a\", \"a\"]\nup",
        "class 'leecher': zones: names 'a' twice; leave one out",
    ),
    ("zone = \"a\"", "zone = \"c\"", "class 'seed': zone: 'c' is no zone; there are a, b-1"),
    (
        "has = \"50%\"",
        "has = 1.5",
        "class 'leecher': has: '1.5' is no part such as 0.5 or '50%', from 0 to 1",
    ),
    (
        "has = \"50%\"",
        "has = \"half\"",
        "class 'leecher': has: 'half' is no part such as 0.5 or '50%', from 0 to 1",
    ),
    (
        "has = \"50%\"",
        "has = nan",
        "class 'leecher': has: 'NaN' is no part such as 0.5 or '50%', from 0 to 1",
    ),
    (
        "{ from = \"1s\", over = \"10s\" }",
        "{ from = \"1s\" }",
        "class 'leecher': arrive: over: is missing; give 'over', or 'every', such as '10s'",
    ),
    (
        "{ from = \"1s\", over = \"10s\" }",
        "{ over = \"1s\", every = \"10s\" }",
        "class 'leecher': arrive: every: and 'over' exclude each other; leave one out",
    ),
    (
        "{ from = \"1s\", over = \"10s\" }",
        "{ from = \"1s\", over = \"10m\" }",
        "class 'leecher': arrive: over: ends after the 'limit' of the plan; make it shorter",
    ),
    (
        "{ from = \"1s\", over = \"10s\" }",
        "{ form = \"1s\", over = \"10s\" }",
        "class 'leecher': arrive: 'form' is no key here; did you mean 'from'?",
    ),
    (
        "{ from = \"1s\", over = \"10s\" }",
        "\"11m\"",
        "class 'leecher': arrive: '11m' is out of range; take one from 0s to 10m",
    ),
    (
        "{ from = \"1s\", over = \"10s\" }",
        "5",
        "class 'leecher': arrive: a duration such as '20ms' is needed, and this is a whole number",
    ),
    (
        "{ after_complete = \"30s\" }",
        "\"ever\"",
        "class 'leecher': stay: is \"forever\", { after_complete = \"30s\" } or { about = \"60s\" }",
    ),
    (
        "{ after_complete = \"30s\" }",
        "{ }",
        "class 'leecher': stay: about: is missing; give 'about', or 'after_complete', such as '60s'",
    ),
    (
        "{ after_complete = \"30s\" }",
        "{ about = \"1s\", after_complete = \"30s\" }",
        "class 'leecher': stay: about: and 'after_complete' exclude each other; leave one out",
    ),
    (
        "policy = \"zone_aware\"",
        "policy = \"native:fastets\"",
        "class 'leecher': policy: 'fastets' is no native policy; did you mean 'fastest'?",
    ),
    (
        "policy = \"zone_aware\"",
        "policy = \" \"",
        "class 'leecher': policy: is empty; name one such as \"lowest_uploaded\", or leave it out",
    ),
    (
        "unchoke = 4",
        "unchoke = \"some\"",
        "class 'leecher': unchoke: is \"all\", or of how many peers at once the requests are served",
    ),
    (
        "unchoke = 4",
        "unchoke = 0",
        "class 'leecher': unchoke: '0' is out of range; take one from 1 to 1024",
    ),
    (
        "connections = 30",
        "connections = 2000",
        "class 'leecher': connections: '2000' is out of range; take one from 1 to 1024",
    ),
    (
        "disk = \"500MB/s\"",
        "disk = false",
        "class 'leecher': disk: a rate such as '20MB/s' is needed, and this is true or false",
    ),
    (
        "\"honest\"",
        "\"freerider\"",
        "class 'leecher': conduct: 'freerider' is no conduct; did you mean 'free_rider'?",
    ),
    (
        "\"honest\"",
        "\"corrupter\"",
        "class 'leecher': conduct: says how much: { corrupter = 0.1 }, a part of the blocks",
    ),
    (
        "\"honest\"",
        "\"slow_loris\"",
        "class 'leecher': conduct: says how slow: { slow_loris = \"1KiB/s\" }",
    ),
    (
        "\"honest\"",
        "\"flapper\"",
        "class 'leecher': conduct: says how long a connection lasts: { flapper = \"5s\" }",
    ),
    (
        "\"honest\"",
        "{ corupter = 0.1 }",
        "class 'leecher': conduct: 'corupter' is no key here; did you mean 'corrupter'?",
    ),
    (
        "\"honest\"",
        "{ corrupter = 0.1, flapper = \"5s\" }",
        "class 'leecher': conduct: corrupter: a host has one conduct; name one",
    ),
    (
        "\"honest\"",
        "{ flapper = \"1ms\" }",
        "class 'leecher': conduct: flapper: '1ms' is out of range; take one from 1s to 7d",
    ),
    (
        "\"honest\"",
        "{}",
        "class 'leecher': conduct: corrupter: is missing; name one conduct, with its value",
    ),
    (
        "kind = \"crash\"",
        "kind = \"crsh\"",
        "fault 1 ('crsh'): kind: 'crsh' is no kind of fault; did you mean 'crash'?",
    ),
    ("kind = \"crash\"", "", "fault 1: kind is missing; write such as kind = \"crash\""),
    (
        "kind = \"crash\"",
        "kind = \"cut\"",
        "fault 1 ('cut'): 'class' is no key here; there are kind, at, until, zones",
    ),
    (
        "kind = \"crash\"",
        "kind = \"slow_disk\"",
        "fault 1 ('slow_disk'): rate is missing; write such as rate = \"1MB/s\"",
    ),
    (
        "class = \"leecher\"",
        "class = \"leechers\"",
        "fault 1 ('crash'): class: 'leechers' is no class; did you mean 'leecher'?",
    ),
    (
        "class = \"leecher\"",
        "",
        "fault 1 ('crash'): class is missing; write such as class = \"leecher\"",
    ),
    ("hosts = 5", "hosts = 102", "fault 1 ('crash'): hosts: class 'leecher' has no more than 101"),
    (
        "at = \"20s\"",
        "at = \"11m\"",
        "fault 1 ('crash'): at: '11m' is out of range; take one from 0s to 10m",
    ),
    ("at = \"20s\"", "", "fault 1 ('crash'): at is missing; write such as at = \"30s\""),
    (
        "until = \"40s\"",
        "until = \"20s\"",
        "fault 1 ('crash'): until: is not after 'at'; make it later, or leave it out: never",
    ),
    (
        "p99_max = \"120s\"",
        "p99 = \"120s\"",
        "expect: 'p99' is no key here; did you mean 'p99_max'?",
    ),
    (
        "p99_max = \"120s\"",
        "jain_min = 1.1",
        "expect: jain_min: '1.1' is no part such as 0.5 or '50%', from 0 to 1",
    ),
    (
        "across_max = 3",
        "across_max = -1",
        "expect: across_max: '-1' is out of range; take one from 0 to 1000000",
    ),
    (
        "across_max = 3",
        "across_max = \"3\"",
        "expect: across_max: a number is needed, and this is a text",
    ),
    (
        "across_max = 3",
        "across_max = inf",
        "expect: across_max: 'inf' is out of range; take one from 0 to 1000000",
    ),
    ("name = \"full\"", "name = \"full\"\nname = \"again\"", "line 3: duplicate key"),
    (
        "limit = \"10m\"",
        "limit = 10m",
        "line 6: string values must be quoted, expected literal string",
    ),
    (
        "has = \"50%\"",
        "has = 1979-05-27",
        "class 'leecher': has: a part such as 0.5 is needed, and this is a date",
    ),
];

#[test]
fn each_error_names_the_key_and_says_what_to_do() {
    for (old, new, expected) in ERRORS {
        let error = changed(old, new).unwrap_err().to_string();
        assert_eq!(error, *expected, "{new}");
    }
}

#[test]
fn content_that_nobody_has_is_refused() {
    let error = Plan::read(&LEAST.replace("has = 1", "has = 0")).unwrap_err().to_string();
    assert_eq!(
        error,
        "class: none has anything of the content; give one 'has = 1', and it is a seed"
    );
}

#[test]
fn a_plan_without_a_class_is_refused() {
    let error = Plan::read("name = \"x\"\ncontent = \"1MiB\"").unwrap_err().to_string();
    assert!(error.starts_with("class is missing; write such as class = "), "{error}");
}
