//! The tables as text: LuaCATS annotations, and Markdown. Never here: their content.

use std::fmt::Write as _;

use super::{ALIASES, CLASSES, Class, FUNCTIONS, Field, Function, GLOBALS, resolved};

const HEAD: &str = "---@meta shoal
-- Type definitions for shoal policies (api = 1). Generated from the node's source: do not edit.
-- Editor set-up: `shoalctl policy init` writes a .luarc.json that points to this file.
";

pub(super) fn definitions() -> String {
    let mut text = HEAD.to_owned();
    for alias in ALIASES {
        let _ = write!(text, "\n---@alias shoal.{} {}\n", alias.name, resolved(alias.kind));
        for line in alias.doc.lines() {
            let _ = writeln!(text, "---| {line}");
        }
    }
    CLASSES.iter().for_each(|class| write_class(&mut text, class));
    for library in ["shoal", "log", "metric"] {
        let _ = write!(text, "\n{library} = {{}}\n");
        if library == "shoal" {
            text.push_str("---The version of this contract.\n---@type integer\nshoal.api = 1\n");
        }
        let functions = FUNCTIONS.iter().filter(|function| function.library == library);
        functions.for_each(|function| write_function(&mut text, function));
    }
    text.push_str("\n-- Of test files (`shoalctl policy test`) only.\n");
    GLOBALS.iter().for_each(|function| write_function(&mut text, function));
    text
}

fn write_class(text: &mut String, class: &Class) {
    let _ = write!(text, "\n---{}\n---@class shoal.{}\n", class.doc, class.name);
    for field in class.fields {
        let mark = if field.optional { "?" } else { "" };
        let range = if field.range.is_empty() { "" } else { " — " };
        let (name, kind, doc) = (field.name, resolved(field.kind), field.doc);
        let range = format!("{range}{}", field.range);
        let _ = writeln!(text, "---@field {name}{mark} {kind} # {doc}{range}");
    }
}

fn write_function(text: &mut String, function: &Function) {
    let _ = writeln!(text, "---{}", function.doc);
    for (name, kind) in function.params {
        let kind = resolved(kind);
        let optional = kind.strip_suffix('?').filter(|_| !kind.contains('|'));
        let _ = match (*name, optional) {
            ("...", _) => writeln!(text, "---@param ... {kind}"),
            (name, Some(kind)) => writeln!(text, "---@param {name}? {kind}"),
            (name, None) => writeln!(text, "---@param {name} {kind}"),
        };
    }
    for kind in function.returns {
        let _ = writeln!(text, "---@return {}", resolved(kind));
    }
    let _ = writeln!(text, "function {}({}) end", qualified(function), names(function));
}

fn qualified(function: &Function) -> String {
    match function.library {
        "" => function.name.to_owned(),
        library => format!("{library}.{}", function.name),
    }
}

fn names(function: &Function) -> String {
    function.params.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

pub(super) fn field_table(class: &Class) -> String {
    let mut text = "| field | type | unit, range | meaning |\n|---|---|---|---|\n".to_owned();
    // What others write may be nil; what a script writes may be left out, and the text says so.
    let read = ["Chunk", "Event"].contains(&class.name);
    for field in class.fields {
        let Field { name, range, doc, .. } = field;
        let mark = if field.optional && read { " or nil" } else { "" };
        let _ = writeln!(text, "| `{name}` | `{}`{mark} | {range} | {doc} |", short(field.kind));
    }
    text
}

/// A type as the manual shows it: of a function only the names of its parameters.
fn short(kind: &str) -> String {
    let kind = resolved(kind).replace("shoal.", "");
    match kind.strip_prefix("fun(").and_then(|rest| rest.split_once(')')) {
        Some((params, _)) => {
            let name = |param: &str| param.split(':').next().unwrap_or_default().trim().to_owned();
            let names = params.split(',').map(name).collect::<Vec<_>>().join(", ");
            format!("function({names})")
        }
        None => kind.replace('|', "\\|"),
    }
}

pub(super) fn function_table(library: &str) -> String {
    let all = if library.is_empty() { GLOBALS } else { FUNCTIONS };
    let mut text = "| call | what it does |\n|---|---|\n".to_owned();
    for function in all.iter().filter(|function| function.library == library) {
        let (name, names) = (qualified(function), names(function));
        let doc = resolved(function.doc).replace('|', ", ");
        let _ = writeln!(text, "| `{name}({names})` | {doc} |");
    }
    text
}
