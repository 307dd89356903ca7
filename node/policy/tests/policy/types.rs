//! The type definitions and the manual's tables are those of the contract, and the contract's are
//! those of a live VM. `SHOAL_BLESS=1` writes the files anew.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use shoal_core::policy::{ChunkFault, Consultation, Happening, Report};
use shoal_policy::{
    sink::{LogLevel, MetricOperation, Sink},
    trial::{self, TrialFile},
    types::{self, ALIASES, CLASSES, FUNCTIONS, GLOBALS},
};

use crate::support::{Verdicts as _, load_with, loaded, source, three};

fn scripts(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name)
}

/// Compares a file with what it should be, or writes it.
fn check(name: &str, expected: &str) {
    let path = scripts(name);
    if std::env::var_os("SHOAL_BLESS").is_some() {
        write(&path, expected);
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "scripts/{name} is not what the node has; SHOAL_BLESS=1 writes it anew: {differs:?}"
    );
}

#[expect(clippy::disallowed_methods, reason = "the test writes the file that it checks")]
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[test]
fn the_type_definitions_are_the_contracts() {
    check("types/shoal.d.lua", &types::definitions());
}

#[test]
fn the_tables_of_the_manual_are_the_contracts() {
    let manual = fs::read_to_string(scripts("README.md")).unwrap();
    let mut expected = String::new();
    let mut seen = BTreeSet::new();
    let mut lines = manual.lines();
    while let Some(line) = lines.next() {
        expected.push_str(line);
        expected.push('\n');
        let marked = line.strip_prefix("<!-- table: ").and_then(|rest| rest.strip_suffix(" -->"));
        let Some(name) = marked else { continue };
        let functions = ["shoal", "log", "metric", "tests"].contains(&name);
        expected.push_str(&match name {
            "tests" => types::function_table(""),
            library if functions => types::function_table(library),
            class => types::field_table(class).unwrap_or_else(|| panic!("no class {class}")),
        });
        expected.push_str("<!-- end -->\n");
        assert!(lines.any(|line| line == "<!-- end -->"), "the table {name} has no end");
        seen.insert(name.to_owned());
    }
    for class in CLASSES {
        assert!(seen.contains(class.name), "the manual has no table of {}", class.name);
    }
    check("README.md", &expected);
}

/// The names of a class's fields, in order.
fn fields(class: &str) -> Vec<&'static str> {
    let class = CLASSES.iter().find(|known| known.name == class).unwrap();
    let mut names = class.fields.iter().map(|field| field.name).collect::<Vec<_>>();
    names.sort_unstable();
    names
}

#[derive(Clone, Default)]
struct Lines(Rc<RefCell<Vec<String>>>);

impl Sink for Lines {
    fn log(&mut self, _level: LogLevel, line: &str) {
        self.0.borrow_mut().push(line.to_owned());
    }

    fn metric(&mut self, _operation: MetricOperation, _name: &str, _value: f64) {}
}

/// The sorted keys of a table that an expression names, as a policy sees them.
fn keys(expression: &str) -> Vec<String> {
    let lua = format!(
        "return function(ctx, peers)
           if #peers ~= 3 then return nil end
           local keys = {{}}
           for key in pairs({expression}) do keys[#keys + 1] = key end
           log.info('%s', table.concat(keys, ' '))
         end"
    );
    let mut table = three();
    table.chunks[0].deadline_ms = Some(7);
    let kept = Lines::default();
    load_with(source(lua), kept.clone()).unwrap().verdicts(&table);
    let lines = kept.0.take();
    lines[0].split(' ').map(str::to_owned).collect()
}

#[test]
fn a_policy_sees_the_fields_that_are_listed_and_no_others() {
    for (class, expression) in
        [("Peer", "peers[1]"), ("Chunk", "ctx.chunk"), ("Download", "ctx.download"), ("Ctx", "ctx")]
    {
        assert_eq!(fields(class), keys(expression), "{class}");
    }
    for library in ["shoal", "log", "metric"] {
        let functions = FUNCTIONS.iter().filter(|function| function.library == library);
        let mut names = functions.map(|function| function.name).collect::<Vec<_>>();
        if library == "shoal" {
            names.push("api");
        }
        names.sort_unstable();
        assert_eq!(names, keys(library), "{library}");
    }
}

#[test]
fn events_have_the_fields_that_are_listed_and_no_others() {
    let lua = "local function note(_, ev)
           for key in pairs(ev) do log.info('%s', key) end
           for _, name in ipairs({ 'peer', 'chunk', 'bytes', 'ms', 'kind' }) do
             local value = ev[name]
           end
         end
         return { api = 1, on = { chunk_done = note, chunk_failed = note, finished = note,
           peer_added = note, peer_removed = note, tick = note } }";
    let kept = Lines::default();
    let mut script = load_with(source(lua), kept.clone()).unwrap();
    let table = three();
    let (peer, chunk) = (table.peers[0].clone(), table.chunks[0].clone());
    for what in [
        Happening::ChunkDone { peer: peer.clone(), chunk: chunk.clone(), bytes: 7, took_us: 9 },
        Happening::ChunkFailed { peer: peer.clone(), chunk, fault: ChunkFault::Hash },
        Happening::PeerAdded { peer: peer.clone() },
        Happening::PeerRemoved { peer },
        Happening::Tick { peers: table.peers.clone() },
        Happening::Finished,
    ] {
        let Consultation { policy, torrent, now, .. } = table;
        let download = table.download.clone();
        script.report(&Report { policy, torrent, now, download, what });
    }
    assert_eq!(script.status().report(), None);
    let seen = kept.0.take().into_iter().collect::<BTreeSet<_>>();
    assert_eq!(fields("Event"), seen.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn every_key_that_a_policy_may_have_is_taken() {
    let value = |name: &str| match name {
        "api" | "version" => "1",
        "name" | "description" => "'x'",
        "params" => {
            "{ p = { type = 'enum', default = 'a', values = { 'a' }, doc = 'd' },
            q = { type = 'number', default = 1, min = 0, max = 2 } }"
        }
        "requires" => "{ 'labels' }",
        "on" => "{ tick = f }",
        "order" => "function() return { strategy = 'random', window = 3, duplicate = false } end",
        "slots" => "function() return 3 end",
        _ => "f",
    };
    // It has one of the two that decide.
    let keys = fields("Policy").into_iter().filter(|key| *key != "score");
    let table = keys.map(|key| format!("{key} = {}", value(key))).collect::<Vec<_>>().join(", ");
    let script = loaded(format!("local function f() end return {{ {table} }}"));
    assert!(script.warnings().is_empty(), "{:?}", script.warnings());
    assert_eq!(fields("Param"), ["default", "doc", "max", "min", "type", "values"]);
    assert_eq!(fields("Order"), ["duplicate", "strategy", "window"]);
    loaded("return { api = 1, score = function() return 1 end }");
}

#[test]
fn test_files_have_the_functions_that_are_listed_and_no_others() {
    let globals = GLOBALS.iter().map(|function| format!("{} = 1", function.name));
    let lua = format!(
        "test('t', function()
           local s = swarm{{}}
           local keys = {{}}
           for key in pairs(s) do keys[#keys + 1] = key end
           expect(table.concat(keys, ' '), '{}')
           for name in pairs({{ {} }}) do expect(type(at(name)), 'function', name) end
         end)
         function at(name)
           return ({{ {} }})[name]
         end",
        fields("Swarm").join(" "),
        globals.collect::<Vec<_>>().join(", "),
        GLOBALS.iter().map(|f| format!("{0} = {0}", f.name)).collect::<Vec<_>>().join(", "),
    );
    let file = TrialFile { name: "t.lua".to_owned(), source: lua };
    let policy = source("return function() end");
    let results = trial::run(Some(&policy), &file);
    assert!(results[0].passed, "{}", results[0].report);
}

#[test]
fn every_name_that_the_node_knows_is_in_the_definitions() {
    let text = types::definitions();
    for feature in shoal_policy::FEATURES {
        assert!(text.contains(&format!("\"{feature}\"")), "{feature}");
    }
    assert!(!text.contains('$'), "a name was not put in: {text}");
    assert!(ALIASES.iter().all(|alias| text.contains(&format!("@alias shoal.{} ", alias.name))));
}
