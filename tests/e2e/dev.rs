//! `shoald dev`: a whole swarm in one command.

use crate::binaries::{Program, texts};

#[tokio::test]
async fn dev_shares_a_sample_verifies_every_copy_and_ends() {
    let Some(shoald) = Program::shoald() else { return };
    let home = tempfile::tempdir().unwrap();
    let line = ["dev", "--exit", "--size", "8MiB"];
    let (code, out, err) = texts(&shoald.run(home.path(), &line).await);
    assert_eq!(code, Some(0), "{out}{err}");
    let mut lines = out.lines();
    let copies = "3 copies of 8.0 MiB (16 chunks), each the same as its source";
    assert_eq!(lines.next(), Some(copies), "{out}");
    let pace = lines.next().unwrap_or_default();
    assert!(pace.contains(" s, ") && pace.ends_with(" MB/s in all"), "{out}");
    let names = ["leecher-1", "leecher-2", "leecher-3"];
    let cells = |line: Option<&str>| -> Vec<String> {
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let mut rows = lines.by_ref().skip(1);
    assert_eq!(cells(rows.next()), [&["chunks", "from", "seeder"], &names[..]].concat(), "{out}");
    let mut by_seeder = 0;
    for (index, name) in names.iter().enumerate() {
        let row = cells(rows.next());
        assert_eq!((row.len(), row[0].as_str(), row[2 + index].as_str()), (5, *name, "-"), "{out}");
        let served = row[1..].iter().filter(|cell| *cell != "-");
        let served: Vec<u32> = served.map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(served.iter().sum::<u32>(), 16, "{name} has every chunk from somebody: {out}");
        by_seeder += served[0];
    }
    assert!(by_seeder >= 16, "every chunk came from the seeder once: {out}");
    assert!(rows.next().is_some_and(str::is_empty), "{out}");
    assert!(rows.next().is_some_and(|line| line.starts_with("wasted ")), "{out}");
    assert_eq!(rows.next(), Some("policy lowest_uploaded (native)"), "{out}");
    assert_eq!(rows.next(), None, "{out}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left behind");
}
