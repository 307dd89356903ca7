//! Which files of a torrent patterns mean: `*` stays within a folder, `**` does not, `!` in front
//! leaves out. Never here: what being wanted means.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use shoal_core::{
    config::{FILE_GLOB_LEN_MAX, FILE_GLOBS_MAX},
    metainfo::{FileKind, Metainfo},
    torrent::selection::Selection,
};

/// Files compared for a suggestion.
const COMPARED_MAX: usize = 10_000;
/// How alike a suggestion has to be, 0-1 (Jaro-Winkler).
const ALIKE_MIN: f64 = 0.7;

/// Patterns of paths in a torrent, components joined by `/`, case sensitive. One that is a file's
/// path means that file, whatever characters it is made of.
#[derive(Clone, Debug)]
pub struct FileGlobs {
    terms: Vec<Term>,
    set: GlobSet,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Term {
    text: String,
    /// What it matches is left out.
    leaves_out: bool,
    /// Why it is no pattern; it may be a file's path all the same.
    fault: Option<String>,
}

impl PartialEq for FileGlobs {
    fn eq(&self, other: &Self) -> bool {
        self.terms == other.terms
    }
}

impl Eq for FileGlobs {}

/// Why patterns mean no files.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilesError {
    /// They are malformed, too many or too long.
    #[error("{0}")]
    Malformed(String),
    /// One matches no file.
    #[error(transparent)]
    NoMatch(#[from] Box<NoMatch>),
    /// Everything that is taken is left out again.
    #[error("the patterns leave no file of {torrent:?} to be wanted")]
    Nothing {
        /// The torrent's name.
        torrent: String,
    },
}

/// A pattern that matches no file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "no file of {torrent:?} matches {glob:?}{}{}",
    .fault.as_ref().map(|fault| format!(" ({fault})")).unwrap_or_default(),
    .suggestion.as_ref().map(|near| format!("; the nearest is {near:?}")).unwrap_or_default()
)]
pub struct NoMatch {
    /// The torrent's name.
    pub torrent: String,
    /// The pattern.
    pub glob: String,
    /// Why it is none.
    pub fault: Option<String>,
    /// The nearest path or pattern.
    pub suggestion: Option<String>,
}

impl FileGlobs {
    /// Reads patterns.
    ///
    /// # Errors
    /// [`FilesError::Malformed`] of none, too many, an empty or a too long one.
    pub fn parse(globs: &[String]) -> Result<Self, FilesError> {
        let bad = |fault: String| Err(FilesError::Malformed(fault));
        if globs.is_empty() {
            return bad("is missing; name files, as in 'extras/*.mkv'".to_owned());
        }
        if globs.len() > FILE_GLOBS_MAX {
            return bad(format!("{} patterns, above {FILE_GLOBS_MAX}", globs.len()));
        }
        let (mut terms, mut set) = (Vec::new(), GlobSetBuilder::new());
        for glob in globs {
            if glob.len() > FILE_GLOB_LEN_MAX {
                let len = glob.len();
                return bad(format!("a pattern of {len} bytes, above {FILE_GLOB_LEN_MAX}"));
            }
            let (leaves_out, text) = match glob.strip_prefix('!') {
                Some(text) => (true, text),
                None => (false, glob.as_str()),
            };
            if text.is_empty() {
                return bad("a pattern is empty".to_owned());
            }
            let build = |text| GlobBuilder::new(text).literal_separator(true).build();
            let (parsed, fault) = match build(text) {
                Ok(parsed) => (Ok(parsed), None),
                Err(error) => (build(&globset::escape(text)), Some(error.kind().to_string())),
            };
            let parsed = parsed.map_err(|error| FilesError::Malformed(error.to_string()))?;
            set.add(parsed);
            terms.push(Term { text: text.to_owned(), leaves_out, fault });
        }
        let set = set.build().map_err(|error| FilesError::Malformed(error.to_string()))?;
        Ok(Self { terms, set })
    }

    /// The files of a torrent that they mean: what is taken (everything, where nothing is named)
    /// without what is left out.
    ///
    /// # Errors
    /// [`FilesError::NoMatch`] where one matches nothing, [`FilesError::Nothing`] where nothing
    /// remains.
    pub fn select(&self, metainfo: &Metainfo) -> Result<Selection, FilesError> {
        let exact = self.terms.iter().map(|term| metainfo.file_at(&term.text)).collect::<Vec<_>>();
        let takes_all = self.terms.iter().all(|term| term.leaves_out);
        let mut hit = vec![false; self.terms.len()];
        let (mut wanted, mut matches) = (Vec::new(), Vec::new());
        let files = metainfo.files.iter().enumerate();
        for (index, file) in files.filter(|(_, file)| file.kind == FileKind::Regular) {
            self.set.matches_into(file.joined(), &mut matches);
            let named = exact.iter().enumerate().filter(|(_, at)| **at == Some(index));
            matches.extend(named.map(|(term, _)| term));
            for &term in &matches {
                hit[term] = true;
            }
            let left_out = matches.iter().any(|&term| self.terms[term].leaves_out);
            if !left_out && (takes_all || !matches.is_empty()) {
                wanted.push(index);
            }
        }
        if let Some((term, _)) = self.terms.iter().zip(hit).find(|(_, hit)| !hit) {
            let no_match = NoMatch {
                torrent: metainfo.name.clone(),
                glob: term.text.clone(),
                fault: term.fault.clone(),
                suggestion: nearest(metainfo, &term.text),
            };
            return Err(Box::new(no_match).into());
        }
        if wanted.is_empty() {
            return Err(FilesError::Nothing { torrent: metainfo.name.clone() });
        }
        Ok(Selection::of(metainfo, wanted))
    }
}

/// What may have been meant: the folder's files where it names a folder, else the nearest path.
fn nearest(metainfo: &Metainfo, glob: &str) -> Option<String> {
    let folder = format!("{}/", glob.trim_end_matches('/'));
    let files = || metainfo.files.iter().filter(|file| file.kind == FileKind::Regular);
    if files().any(|file| file.joined().starts_with(&folder)) {
        return Some(format!("{folder}**"));
    }
    if let Some(near) = metainfo.find_file(glob).err().and_then(|unknown| unknown.suggestion) {
        return Some(near);
    }
    let wrong = glob.to_lowercase();
    let scored = files().take(COMPARED_MAX).map(|file| {
        let path = file.joined();
        (strsim::jaro_winkler(&wrong, &path.to_lowercase()), path)
    });
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score >= ALIKE_MIN).map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use shoal_core::metainfo::create::{Content, CreateOptions, NewFile, Pad, Plan};

    use super::*;

    fn torrent() -> Metainfo {
        let paths = [
            "README.txt",
            "a[1].mkv",
            "extras/deep/b.mkv",
            "extras/b.mkv",
            "extras/b.nfo",
            "empty",
        ];
        let file = |path: &&str| NewFile {
            path: path.split('/').map(str::to_owned).collect(),
            len: if *path == "empty" { 0 } else { 20_000 },
        };
        let plan = Plan::new(CreateOptions {
            name: "film".to_owned(),
            content: Content::Multi(paths.iter().map(file).collect()),
            piece_len: Some(16 * 1024),
            pad: Pad::Always,
            private: false,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_unix: None,
        });
        let plan = plan.unwrap();
        let hashes = vec![[7; 20]; plan.layout().piece_count() as usize];
        Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap()
    }

    fn means(globs: &[&str]) -> Result<Vec<String>, String> {
        let metainfo = torrent();
        let globs = globs.iter().map(|glob| (*glob).to_owned()).collect::<Vec<_>>();
        let globs = FileGlobs::parse(&globs).map_err(|error| error.to_string())?;
        let selection = globs.select(&metainfo).map_err(|error| error.to_string())?;
        let mut files = selection.regular(&metainfo).map(|file| metainfo.files[file].joined());
        let mut files = files.by_ref().collect::<Vec<_>>();
        files.sort();
        Ok(files)
    }

    #[test]
    fn a_star_stays_in_its_folder_and_two_do_not() {
        assert_eq!(means(&["*"]).unwrap(), ["README.txt", "a[1].mkv", "empty"]);
        assert_eq!(means(&["extras/*"]).unwrap(), ["extras/b.mkv", "extras/b.nfo"]);
        assert_eq!(means(&["**/b.mkv"]).unwrap(), ["extras/b.mkv", "extras/deep/b.mkv"]);
        assert_eq!(means(&["extras/**"]).unwrap().len(), 3);
        assert_eq!(means(&["**"]).unwrap().len(), 6);
        assert_eq!(means(&["*.{txt,nfo}"]).unwrap(), ["README.txt"]);
        assert_eq!(means(&["empty", "README.txt"]).unwrap(), ["README.txt", "empty"]);
    }

    #[test]
    fn an_exclamation_mark_leaves_out() {
        assert_eq!(
            means(&["extras/**", "!**/*.nfo"]).unwrap(),
            ["extras/b.mkv", "extras/deep/b.mkv"]
        );
        assert_eq!(means(&["!extras/**"]).unwrap(), ["README.txt", "a[1].mkv", "empty"]);
        let nothing = means(&["empty", "!empty"]).unwrap_err();
        assert_eq!(nothing, r#"the patterns leave no file of "film" to be wanted"#);
    }

    #[test]
    fn a_path_means_its_file_whatever_it_is_made_of() {
        assert_eq!(means(&["a[1].mkv"]).unwrap(), ["a[1].mkv"]);
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_named_with_what_is_near() {
        let said = |glob: &str| means(&["empty", glob]).unwrap_err();
        let no_file = r#"no file of "film" matches"#;
        assert_eq!(
            said("READMEE.txt"),
            format!(r#"{no_file} "READMEE.txt"; the nearest is "README.txt""#)
        );
        assert_eq!(
            said("readme.txt"),
            format!(r#"{no_file} "readme.txt"; the nearest is "README.txt""#)
        );
        assert_eq!(said("extras"), format!(r#"{no_file} "extras"; the nearest is "extras/**""#));
        assert_eq!(
            said("extras/*.mvk"),
            format!(r#"{no_file} "extras/*.mvk"; the nearest is "extras/b.mkv""#)
        );
        assert_eq!(said("zzz"), format!(r#"{no_file} "zzz""#));
        let unclosed = said("a[1");
        assert!(unclosed.starts_with(&format!(r#"{no_file} "a[1" ("#)), "{unclosed}");
    }

    #[test]
    fn patterns_are_bounded() {
        assert!(means(&[]).unwrap_err().starts_with("is missing"));
        assert_eq!(means(&[""]).unwrap_err(), "a pattern is empty");
        assert_eq!(means(&["!"]).unwrap_err(), "a pattern is empty");
        assert!(means(&["empty"; FILE_GLOBS_MAX]).is_ok());
        assert!(means(&["empty"; FILE_GLOBS_MAX + 1]).unwrap_err().contains("above 64"));
        let long = "*".repeat(FILE_GLOB_LEN_MAX + 1);
        assert!(means(&[&long]).unwrap_err().contains("above 1024"));
        assert!(means(&[&long[..FILE_GLOB_LEN_MAX]]).is_ok());
        let nested = "{".repeat(500) + &"}".repeat(500);
        assert!(means(&[&nested]).is_err());
    }
}
