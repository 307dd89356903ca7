//! Commands, with a world that is made up.

use std::{collections::BTreeMap, io, ops::ControlFlow, sync::Mutex, time::Duration};

use clap::Parser;

use super::{
    Command, CommandError, Job, Size,
    args::SimArgs,
    carry::{End, Shell, carry_out},
    entrant::Entrant,
    tally::Shown,
};
use crate::{
    outcome::Violation,
    plan::{Plan, shipped},
};

/// Files in memory, one thread, no time.
#[derive(Default)]
struct World {
    files: Mutex<BTreeMap<String, String>>,
    out: Mutex<String>,
    err: Mutex<String>,
    shown: Mutex<Option<Shown>>,
}

impl Shell for World {
    fn is_file(&self, path: &str) -> bool {
        self.files.lock().unwrap().contains_key(path)
    }

    fn read(&self, path: &str, len_max: usize) -> io::Result<Vec<u8>> {
        let files = self.files.lock().unwrap();
        let text = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.bytes().take(len_max).collect())
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        self.files.lock().unwrap().insert(path.to_owned(), text.to_owned());
        Ok(())
    }

    fn print(&self, text: &str) -> io::Result<()> {
        self.out.lock().unwrap().push_str(text);
        Ok(())
    }

    fn say(&self, lines: &str) {
        self.err.lock().unwrap().push_str(&format!("{lines}\n"));
    }

    fn threads(&self) -> usize {
        1
    }

    fn together(&self, _threads: usize, work: &(dyn Fn() + Sync)) {
        work();
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn show(&self, shown: Option<Shown>) {
        if shown.is_some() {
            *self.shown.lock().unwrap() = shown;
        }
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: SimArgs,
}

/// A swarm of five and four pieces.
const TINY: &str = "name = 'tiny'
content = '1MiB'
piece = '256KiB'
[[class]]
name = 'seed'
count = 1
has = 1
[[class]]
name = 'leecher'
count = 4
";
const SCRIPT: &str = "return { api = 1, name = 'near',
  params = { zone = { type = 'string', default = 'a', doc = 'ours' } },
  score = function(ctx, peer) return -peer.uploaded end }";

/// How a command line ends, what it prints, what it says.
fn run(line: &str, files: &[(&str, &str)]) -> (End, String, String, World) {
    let args = Cli::try_parse_from(["shoal-sim"].into_iter().chain(line.split(' '))).unwrap().args;
    let world = World::default();
    for (path, text) in files {
        world.write(path, text).unwrap();
    }
    let end = carry_out(&args, &world);
    let (out, err) = (world.out.lock().unwrap().clone(), world.err.lock().unwrap().clone());
    (end, out, err, world)
}

fn command(
    plan_words: &str,
    entrants: &[&str],
    seeds: (u64, u32),
) -> Result<Command, CommandError> {
    let plan = Plan::read(shipped::find("baseline").unwrap()).unwrap();
    let entrants = entrants.iter().map(|name| Entrant::find(name).unwrap()).collect();
    Command::new(&plan, plan_words, Size::Small, entrants, seeds)
}

#[test]
fn there_is_a_job_for_each_policy_and_seed() {
    let command = command("baseline", &["fastest", "native:random"], (7, 3)).unwrap();
    let jobs = command.jobs();
    let told = |job: &Job| (job.options.policy_name.clone(), job.options.seed);
    assert_eq!((jobs.len(), command.runs()), (6, 6));
    assert_eq!(told(&jobs[0]), ("native:fastest".to_owned(), 7));
    assert_eq!(told(&jobs[5]), ("native:random".to_owned(), 9));
}

#[test]
fn seeds_end_where_numbers_do_and_a_policy_is_named_once() {
    assert!(command("x", &["fastest"], (u64::MAX, 1)).is_ok());
    assert!(command("x", &["fastest"], (u64::MAX, 2)).is_err());
    assert!(command("x", &["fastest"], (u64::MAX - 1, 2)).is_ok());
    let twice = command("x", &["fastest", "native:fastest"], (1, 1)).unwrap_err();
    assert_eq!(twice, CommandError::Twice("native:fastest".to_owned()));
}

#[test]
fn a_run_is_given_up_between_steps() {
    let job = command("baseline", &["fastest"], (1, 1)).unwrap().jobs().remove(0);
    let mut looks = 0;
    let ran = job.run(|_| {
        looks += 1;
        if looks == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(ran.unwrap().is_none());
    assert_eq!(looks, 3);
}

#[test]
fn the_command_that_replays_a_run_is_quoted() {
    let command = command("my plans/a'b.toml", &["fastest.lua"], (1, 1)).unwrap();
    let job = command.jobs().remove(0);
    let mut ran = job.run(|_| ControlFlow::Continue(())).unwrap().unwrap();
    ran.outcome.violation = Some(Violation {
        at: ran.outcome.ended,
        host: None,
        check: "made_up",
        detail: String::new(),
    });
    let report = command.report(vec![ran.outcome]);
    assert!(!report.holds());
    let line = "shoald sim \"my plans/a'b.toml\" --small --seed 1 --policy fastest.lua";
    assert!(report.table().contains(line), "{}", report.table());
    assert_eq!(report.broken().map(|it| it.replay).collect::<Vec<_>>(), [line]);
}

#[test]
fn a_plan_of_a_file_is_run_and_drawn_and_the_same_words_give_the_same_bytes() {
    let files = [("dir/t.toml", TINY)];
    let line = "dir/t.toml --picture p.svg";
    let (end, out, err, world) = run(line, &files);
    assert_eq!(end, End::Holds, "{err}");
    assert!(out.starts_with("tiny\n") && out.contains("4 of 4"), "{out}");
    assert!(err.starts_with("1 run, ") && err.ends_with(" a second\n"), "{err}");
    assert!(world.files.lock().unwrap()["p.svg"].starts_with("<svg"));
    assert_eq!(world.shown.lock().unwrap().unwrap().done, 1);
    assert_eq!(run(line, &files).1, out);
}

#[test]
fn policies_are_compared_with_nine_seeds_in_one_document() {
    let files = [("t.toml", TINY), ("near.lua", SCRIPT)];
    let line = "t.toml --policy near.lua --set zone=b --compare fastest random -o json";
    let (end, out, err, _) = run(line, &files);
    assert_eq!(end, End::Holds, "{err}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let names = json["policies"].as_array().unwrap().iter().map(|it| it["policy"].clone());
    let wanted = ["near.lua (zone=b)", "native:fastest", "native:random"];
    assert_eq!(names.collect::<Vec<_>>(), wanted);
    assert_eq!(json["seeds"].as_array().unwrap().len(), 9);
    let replay = "shoald sim t.toml --seed 1 --policy near.lua --set 'zone=b'";
    let said = json["policies"][0]["runs"][0]["replay"].as_str().unwrap();
    assert_eq!(said.replace('\'', ""), replay.replace('\'', ""));
}

#[test]
fn what_is_not_met_ends_with_seven_and_the_command_that_replays_it() {
    let plan = format!("{TINY}[expect]\np99_max = '1ms'\n");
    let (end, out, err, _) = run("t.toml --seed 7 --trace 1", &[("t.toml", &plan)]);
    assert_eq!(end, End::Broken);
    let replay = "shoald sim t.toml --seed 7 --policy native:lowest_uploaded\n";
    assert!(out.contains("NOT MET") && out.ends_with(replay), "{out}");
    assert!(err.contains("there are no facts to tell"), "{err}");
    assert!(err.contains("error: 1 of 1 run did not hold") && err.ends_with(replay), "{err}");
}

#[test]
fn the_policies_of_classes_stand_beside_the_plan() {
    let plan = TINY.replace("count = 4", "count = 4\npolicy = 'near.lua'");
    let (end, out, err, _) = run("a/t.toml", &[("a/t.toml", &plan), ("a/near.lua", SCRIPT)]);
    assert_eq!(end, End::Holds, "{err}");
    assert!(out.contains("chosen"), "{out}");
    let (end, _, err, _) = run("a/t.toml", &[("a/t.toml", &plan)]);
    assert_eq!(end, End::Invalid);
    assert!(err.contains("class 'leecher': unknown policy 'near.lua'"), "{err}");
}

#[test]
fn what_is_wrong_is_said_and_ends_with_its_code() {
    let long = " ".repeat(300 * 1024);
    let files = [
        ("t.toml", TINY),
        ("bad.toml", "name = 'x'\ncontent = '1MiB'\n[[class]]\nname = 'a'\ncuont = 3\n"),
        ("long.toml", long.as_str()),
        ("long.lua", long.as_str()),
        ("bad.lua", "return { api = 1,"),
    ];
    for (line, end, words) in [
        ("basline", End::NotFound, "unknown plan 'basline' — did you mean 'baseline'?"),
        ("nothing_like_it", End::NotFound, "--list shows them"),
        ("none.toml", End::NotFound, "none.toml: "),
        ("bad.toml", End::Invalid, "plan bad.toml: class 'a': 'cuont' is no key"),
        ("long.toml", End::Invalid, "more than 262144 bytes"),
        ("t.toml --policy long.lua", End::Invalid, "more than 262144 bytes"),
        ("t.toml --policy bad.lua", End::Invalid, "bad.lua:1:"),
        ("t.toml --policy fastst", End::NotFound, "did you mean 'fastest'?"),
        ("t.toml --policy ./no.lua", End::NotFound, "./no.lua: "),
        ("t.toml --policy fastest --set a=1", End::Usage, "takes no parameters"),
        ("t.toml --policy two_choices.lua --set a=1 --set a=2", End::Usage, "'a' twice"),
        ("t.toml --policy two_choices.lua --set a=1", End::Invalid, "was not loaded"),
        ("t.toml --compare fastest fastest", End::Usage, "native:fastest is named twice"),
        ("t.toml --trace 4", End::Holds, "no facts to tell"),
        ("t.toml --trace 5", End::Usage, "the hosts are 0 to 4"),
    ] {
        let (ended, _, err, _) = run(line, &files);
        assert_eq!(ended, end, "{line}: {err}");
        assert!(err.contains(words), "{line}: {err}");
    }
}

#[test]
fn plans_are_listed_and_shown() {
    let (end, out, err, _) = run("--list", &[]);
    assert_eq!((end, err.as_str()), (End::Holds, ""));
    assert!(out.lines().all(|line| unicode_width::UnicodeWidthStr::width(line) <= 80), "{out}");
    for (name, text) in shipped::all() {
        let words = Plan::read(text).unwrap().description;
        let last = words.split(' ').next_back().unwrap().to_owned();
        assert!(out.contains(name) && out.contains(&last), "{name} in\n{out}");
    }
    assert_eq!(run("baseline --show", &[]).1, shipped::find("baseline").unwrap());
}
