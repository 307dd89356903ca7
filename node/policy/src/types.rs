//! Every field and function of the contract, once: the editor's type definitions
//! (`scripts/types/shoal.d.lua`) and the tables of `scripts/README.md` are written from here, and a
//! test holds it against what a live VM has. Never here: what any of it does.

mod tables;
mod text;

use shoal_core::policy::{ChunkFault, Order, native::Native};

use crate::{host::FEATURES, shape::Event};

pub use tables::{ALIASES, CLASSES, FUNCTIONS, GLOBALS};

/// A table that a policy sees, returns or is.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// Its name, without `shoal.`.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// A field of a table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type, as the Lua language server writes it; `$features` and the like stand for names that
    /// the node knows.
    pub kind: &'static str,
    /// Whether it may be nil, or left out.
    pub optional: bool,
    /// Its unit and range, for people; empty where the type says it all.
    pub range: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// A function of the host.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// `shoal`, `log` or `metric`; empty for a global of test files.
    pub library: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it does, one or two sentences.
    pub doc: &'static str,
    /// Name and type of each parameter; a type that ends with `?` may be left out.
    pub params: &'static [(&'static str, &'static str)],
    /// The types of its results.
    pub returns: &'static [&'static str],
}

/// A name for a type.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// Its name, without `shoal.`.
    pub name: &'static str,
    /// What it stands for.
    pub kind: &'static str,
    /// What each alternative means.
    pub doc: &'static str,
}

/// The editor's type definitions: the text of `scripts/types/shoal.d.lua`.
#[must_use]
pub fn definitions() -> String {
    text::definitions()
}

/// The fields of a class as a Markdown table; `None` where there is no such class.
#[must_use]
pub fn field_table(class: &str) -> Option<String> {
    CLASSES.iter().find(|known| known.name == class).map(text::field_table)
}

/// The functions of a library as a Markdown table; `""` stands for those of test files.
#[must_use]
pub fn function_table(library: &str) -> String {
    text::function_table(library)
}

/// A type with the names that the node knows put in.
fn resolved(kind: &str) -> String {
    let quoted = |names: &[&str]| {
        let names = names.iter().map(|name| format!("\"{name}\""));
        names.collect::<Vec<_>>().join("|")
    };
    kind.replace("$features", &quoted(&FEATURES))
        .replace("$natives", &quoted(&Native::ALL.map(Native::name)))
        .replace("$orders", &quoted(&Order::ALL.map(Order::name)))
        .replace("$events", &quoted(&Event::ALL.map(Event::name)))
        .replace("$faults", &quoted(&FAULTS.map(ChunkFault::name)))
}

/// Every way in which a chunk fails.
pub(crate) const FAULTS: [ChunkFault; 4] =
    [ChunkFault::Timeout, ChunkFault::Hash, ChunkFault::Disconnect, ChunkFault::Reject];
