//! The pages: where they are, and what stands in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page.
pub struct Page {
    /// From the root.
    pub name: String,
    pub text: String,
}

impl Page {
    /// A page by its path.
    pub fn read(path: &Path) -> Self {
        let name = path.strip_prefix(root()).expect("a page of the repository");
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        Self { name: name.display().to_string(), text }
    }

    /// Every page that a user reads.
    pub fn all() -> Vec<Self> {
        let mut paths: Vec<PathBuf> = vec![
            root().join("README.md"),
            root().join("ARCHITECTURE.md"),
            root().join("CHANGELOG.md"),
            root().join("scripts/README.md"),
        ];
        let folders =
            ["docs", "examples/python", "examples/typescript", "examples/pusher", "deploy"];
        for folder in folders.map(|folder| root().join(folder)) {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let pages = entries.map(|entry| entry.path());
            paths.extend(pages.filter(|path| path.extension().is_some_and(|end| end == "md")));
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Its fenced blocks: the language, the line in which it begins (from 1), the text.
    pub fn blocks(&self) -> Vec<(String, usize, String)> {
        let mut blocks = Vec::new();
        let mut open: Option<(String, usize, String)> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    open = Some((language.trim().to_owned(), index + 2, String::new()));
                }
                (None, Some((_, _, text))) => {
                    text.push_str(line);
                    text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block has no end", self.name);
        blocks
    }

    /// Its text with an empty line for each line of a block.
    pub fn prose(&self) -> String {
        let mut inside = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            if !inside && !fence {
                prose.push_str(line);
            }
            prose.push('\n');
        }
        prose
    }
}
