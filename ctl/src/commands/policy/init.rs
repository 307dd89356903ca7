//! `shoalctl policy init`: a policy to start from, with its test and what an editor wants. Never here:
//! a node.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    clean::clean,
    cli::{Format, policy::InitArgs},
    failure::Failure,
    files::read_bounded,
    io::Io,
    session::Shown,
};

const POLICY: &str = include_str!("template/policy.lua");
const TEST: &str = include_str!("template/test.lua");
const EDITOR: &str = include_str!("template/luarc.json");
const TYPES: &str = include_str!("../../../../scripts/types/shoal.d.lua");

/// What stands in the templates for the policy's name.
const NAME: &str = "@NAME@";

/// Longest file that is compared with what would be written, bytes.
const COMPARED_LEN_MAX: u64 = 1024 * 1024;

/// A file to be written.
struct Planned {
    path: PathBuf,
    text: String,
    /// It is the same for every policy of the folder, and may be there already.
    shared: bool,
}

/// Writes the files, all or none.
pub(crate) fn init(io: &mut Io, format: Format, args: &InitArgs) -> Result<(), Failure> {
    let mut wanted = Vec::new();
    for planned in plan(args) {
        if !is_there(&planned)? {
            wanted.push(planned);
        }
    }
    write_all(&wanted)?;
    let names: Vec<String> = wanted.iter().map(|planned| shown(&planned.path)).collect();
    let value = json!({ "created": names });
    Shown { value, list: "", names, text: told(args, &wanted) }.write(io, format)
}

fn plan(args: &InitArgs) -> [Planned; 4] {
    let (dir, name) = (&args.dir, &args.name);
    let file = |path: PathBuf, text: &str, shared| Planned {
        path,
        text: text.replace(NAME, name),
        shared,
    };
    [
        file(dir.join(format!("{name}.lua")), POLICY, false),
        file(dir.join(format!("{name}_test.lua")), TEST, false),
        file(dir.join(".luarc.json"), EDITOR, true),
        file(dir.join("types").join("shoal.d.lua"), TYPES, true),
    ]
}

/// Whether a file that may be shared is there already, just as it would be written.
fn is_there(planned: &Planned) -> Result<bool, Failure> {
    let path = &planned.path;
    match fs::symlink_metadata(path).map_err(|e| (e.kind(), e)) {
        Err((ErrorKind::NotFound, _)) => return Ok(false),
        Err((ErrorKind::NotADirectory, _)) => {
            return Err(in_the_way(path.parent().unwrap_or(path)));
        }
        Err((_, e)) => return Err(Failure::file(path, &e)),
        Ok(_) => {}
    }
    let same = planned.shared
        && path.is_file()
        && read_bounded(path, COMPARED_LEN_MAX).is_ok_and(|have| have == planned.text.as_bytes());
    if same { Ok(true) } else { Err(in_the_way(path)) }
}

fn in_the_way(path: &Path) -> Failure {
    Failure::already_exists(format!("{} exists: nothing was written", path.display()))
        .with_hint("another NAME, or --dir with another folder")
}

/// Writes every file, or leaves everything as it was.
fn write_all(files: &[Planned]) -> Result<(), Failure> {
    let mut made = Made::default();
    for planned in files {
        if let Err(failure) = made.write(planned) {
            made.undo();
            return Err(failure);
        }
    }
    Ok(())
}

/// What was made so far, in order.
#[derive(Default)]
struct Made {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Made {
    fn write(&mut self, planned: &Planned) -> Result<(), Failure> {
        let failed = |path: &Path, e: &std::io::Error| Failure::file(path, e);
        let folder = planned.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        for missing in folder.map(missing).unwrap_or_default() {
            fs::create_dir(&missing).map_err(|e| failed(&missing, &e))?;
            self.folders.push(missing);
        }
        let path = &planned.path;
        let mut file = fs::File::create_new(path).map_err(|e| failed(path, &e))?;
        self.files.push(path.clone());
        file.write_all(planned.text.as_bytes()).map_err(|e| failed(path, &e))
    }

    /// As far as it goes: whoever removed something meanwhile spares us the work.
    fn undo(self) {
        for file in self.files.iter().rev() {
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The folders on the way to `folder` that are not there, the outermost first.
fn missing(folder: &Path) -> Vec<PathBuf> {
    let absent = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let mut missing: Vec<PathBuf> =
        folder.ancestors().take_while(absent).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// What was written, and what to do next.
fn told(args: &InitArgs, wanted: &[Planned]) -> String {
    let mut text = String::new();
    for planned in wanted {
        text.push_str(&format!("wrote {}\n", clean(&shown(&planned.path))));
    }
    let policy = shown(&args.dir.join(format!("{}.lua", args.name)));
    let test = shown(&args.dir.join(format!("{}_test.lua", args.name)));
    for (command, file) in [("check", &policy), ("test", &test), ("set", &policy)] {
        text.push_str(&format!("next: shoalctl policy {command} {}\n", clean(file)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path, name: &str) -> InitArgs {
        InitArgs { name: name.to_owned(), dir: dir.to_owned() }
    }

    fn run(dir: &Path, name: &str) -> Result<(), Failure> {
        let (mut io, _, _) = Io::captured("");
        init(&mut io, Format::Table, &args(dir, name))
    }

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_second_policy_shares_the_types_and_the_editors_file() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        run(&deep, "near").unwrap();
        run(&deep, "far").unwrap();
        assert_eq!(
            entries(&deep),
            [".luarc.json", "far.lua", "far_test.lua", "near.lua", "near_test.lua", "types"]
        );
        let text = fs::read_to_string(deep.join("near.lua")).unwrap();
        assert!(text.contains("name = \"near\"") && !text.contains(NAME), "{text}");
        assert_eq!(fs::read_to_string(deep.join("types/shoal.d.lua")).unwrap(), TYPES);
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_is_half_done() {
        for there in ["near.lua", "near_test.lua", ".luarc.json", "types/shoal.d.lua", "types"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(there);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "mine").unwrap();
            let before = entries(dir.path());
            assert!(run(dir.path(), "near").is_err(), "{there}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "mine", "{there}");
            assert_eq!(entries(dir.path()), before, "{there}");
        }
    }

    #[test]
    fn what_fails_midway_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        let mut files: Vec<Planned> = plan(&args(&deep, "near")).into_iter().collect();
        files.push(Planned { path: deep.join("near.lua"), text: String::new(), shared: false });
        assert!(write_all(&files).is_err());
        assert!(entries(dir.path()).is_empty(), "{:?}", entries(dir.path()));
    }

    #[test]
    fn the_editors_file_is_json_that_names_the_types() {
        let editor: serde_json::Value = serde_json::from_str(EDITOR).unwrap();
        assert_eq!(editor["workspace.library"][0], "types");
        assert_eq!(editor["runtime.version"], "Lua 5.4");
    }
}
