//! Names of files from an enemy: what is safe, and what becomes of names that are not UTF-8.

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest, Sha1};

use crate::{
    config::{COMPONENT_LEN_MAX, PATH_DEPTH_MAX, PATH_LEN_MAX},
    metainfo::{
        File, FileKind,
        error::{MetainfoError, PathFault},
    },
};

/// The folder of the chunk memory, which no torrent may name.
pub const RESERVED_TOP: &str = ".shoal";

/// What stands for a component without characters, as in libtorrent.
const UNNAMED: &str = "_";

/// Makes text of a component, without NUL, which no file system holds. One that is not UTF-8 becomes so with replacement characters and a
/// part of its SHA-1, so that names that were different stay different: `a\xff.txt` becomes
/// `a\u{fffd}~1c9f2e7a.txt`.
#[must_use]
pub fn component(raw: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(raw) {
        return text.replace('\0', "");
    }
    let tag = format!("~{}", hex::encode(&Sha1::digest(raw)[..4]));
    // Only so much is looked at: the length is judged later, and is beyond every limit.
    let lossy = String::from_utf8_lossy(&raw[..raw.len().min(PATH_LEN_MAX)]).replace('\0', "");
    let (stem, extension) = match lossy.rfind('.') {
        Some(dot) if dot > 0 && lossy.len() - dot <= 16 => lossy.split_at(dot),
        _ => (lossy.as_str(), ""),
    };
    let room = COMPONENT_LEN_MAX - tag.len() - extension.len();
    let cut = match raw.len() <= COMPONENT_LEN_MAX {
        // Replacement characters are longer than what they replace: that is no fault of the name.
        true => stem.floor_char_boundary(room.min(stem.len())),
        false => stem.len(),
    };
    format!("{}{tag}{extension}", &stem[..cut])
}

/// A file's path as libtorrent reads it: components `.` left out, and `_` where one is empty. An
/// absolute path stays one.
#[must_use]
pub fn tidy(mut path: Vec<String>) -> Vec<String> {
    if path.is_empty() {
        return path;
    }
    path.retain(|component| component != ".");
    if path.len() > 1 && path[0].is_empty() {
        return path;
    }
    path.iter_mut().filter(|component| component.is_empty()).for_each(|c| c.push_str(UNNAMED));
    if path.is_empty() { vec![UNNAMED.to_owned()] } else { path }
}

/// Judges the path of one file, or the name of a torrent as a path of one component.
///
/// # Errors
/// [`MetainfoError::UnsafePath`] with the path and what is wrong with it.
pub fn check(path: &[String]) -> Result<(), MetainfoError> {
    match fault_of(path) {
        None => Ok(()),
        Some(fault) => Err(unsafe_path(path, fault)),
    }
}

/// Judges all paths together: no path twice, and no file where another needs a folder. Padding is
/// never on a disk and may repeat. Returns the indices of all other files in order of path.
///
/// # Errors
/// [`MetainfoError::UnsafePath`] with the first offending path in order of paths.
pub fn order(files: &[File]) -> Result<Vec<u32>, MetainfoError> {
    let named = files.iter().enumerate().filter(|(_, file)| file.kind != FileKind::Pad);
    let mut by_path: Vec<u32> = named.map(|(index, _)| index as u32).collect();
    let path = |index: u32| &files[index as usize].path;
    by_path.sort_by(|&a, &b| path(a).cmp(path(b)));
    // Everything between a path and one below it begins with it too: neighbours tell.
    for pair in by_path.windows(2) {
        let (above, below) = (path(pair[0]), path(pair[1]));
        if below.starts_with(above) {
            let same = below.len() == above.len();
            let fault = if same { PathFault::Duplicate } else { PathFault::FileAndFolder };
            return Err(unsafe_path(above, fault));
        }
    }
    Ok(by_path)
}

/// Gives each file a path of its own, as libtorrent does: a file whose path another one before it
/// has, or that others need as a folder, gets a number before the extension of its name: the least
/// from 1 on that no folder and no file before it has. Padding may repeat.
pub fn part(files: &mut [File]) {
    if order(files).is_ok() {
        return;
    }
    for (index, name) in renamed(files) {
        if let Some(last) = files[index].path.last_mut() {
            *last = name;
        }
    }
}

/// Which files need another name, and which.
fn renamed(files: &[File]) -> Vec<(usize, String)> {
    let named = || files.iter().enumerate().filter(|(_, file)| file.kind != FileKind::Pad);
    let mut sorted: Vec<&[String]> = named().map(|(_, file)| &file.path[..]).collect();
    sorted.sort_unstable();
    // What lies below a path comes right behind it.
    let is_folder = |path: &[String]| {
        let behind = sorted.partition_point(|other| *other <= path);
        sorted.get(behind).is_some_and(|other| other.starts_with(path))
    };
    let mut taken: BTreeSet<&[String]> = BTreeSet::new();
    let mut given: BTreeSet<Vec<String>> = BTreeSet::new();
    // The numbers up to these are not free.
    let mut numbers: BTreeMap<&[String], usize> = BTreeMap::new();
    let mut renamed = Vec::new();
    for (index, file) in named() {
        let path = &file.path[..];
        if !is_folder(path) && !given.contains(path) && taken.insert(path) {
            continue;
        }
        let Some((last, folder)) = path.split_last() else { continue };
        let number = numbers.entry(path).or_insert(0);
        let mut other = folder.to_vec();
        other.push(String::new());
        loop {
            *number += 1;
            other[folder.len()] = numbered(last, *number);
            let is_free = !taken.contains(&other[..]) && !given.contains(&other);
            if is_free && !is_folder(&other) {
                break;
            }
        }
        renamed.push((index, other[folder.len()].clone()));
        given.insert(other);
    }
    renamed
}

/// A name with a number before its extension, no longer than names may be.
fn numbered(name: &str, number: usize) -> String {
    let (stem, extension) = name.split_at(name.rfind('.').unwrap_or(name.len()));
    let number = format!(".{number}");
    let room = COMPONENT_LEN_MAX.saturating_sub(number.len());
    let extension = &extension[..extension.floor_char_boundary(room.min(extension.len()))];
    let stem = &stem[..stem.floor_char_boundary((room - extension.len()).min(stem.len()))];
    format!("{stem}{number}{extension}")
}

fn fault_of(path: &[String]) -> Option<PathFault> {
    if path.is_empty() {
        return Some(PathFault::Empty);
    }
    if path.len() > PATH_DEPTH_MAX {
        return Some(PathFault::TooDeep);
    }
    if path[0].starts_with('/') || (path.len() > 1 && path[0].is_empty()) {
        return Some(PathFault::Absolute);
    }
    if path[0] == RESERVED_TOP {
        return Some(PathFault::Reserved);
    }
    let len = path.iter().map(String::len).sum::<usize>() + path.len() - 1;
    let of_component = path.iter().find_map(|component| component_fault(component));
    of_component.or((len > PATH_LEN_MAX).then_some(PathFault::TooLong))
}

fn component_fault(component: &str) -> Option<PathFault> {
    match component {
        "" => Some(PathFault::EmptyComponent),
        "." | ".." => Some(PathFault::Dots),
        long if long.len() > COMPONENT_LEN_MAX => Some(PathFault::ComponentTooLong),
        other if other.contains(is_forbidden) => Some(PathFault::Character),
        _ => None,
    }
}

/// Separators and NUL everywhere; what Windows reserves only there.
fn is_forbidden(c: char) -> bool {
    matches!(c, '/' | '\0') || (cfg!(windows) && "\\:*?\"<>|".contains(c))
}

/// A path for an error message: short whatever was sent.
pub(crate) fn shown(path: &[String]) -> String {
    let mut shown = path[..path.len().min(PATH_DEPTH_MAX + 1)].join("/");
    shown.truncate(shown.floor_char_boundary(512.min(shown.len())));
    shown
}

fn unsafe_path(path: &[String], fault: PathFault) -> MetainfoError {
    MetainfoError::UnsafePath { path: shown(path), fault }
}
