//! `shoalctl context`. Never here: which context holds for a command.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    cli::{
        Format,
        context::{AddContextArgs, ContextCommand},
    },
    contexts::{Context, Contexts},
    failure::Failure,
    grid::{Column, Grid, block},
    io::Io,
    session::Shown,
};

pub(super) fn carry_out(
    io: &mut Io,
    format: Format,
    command: &ContextCommand,
) -> Result<(), Failure> {
    let contexts = Contexts::load(&io.places)?;
    let shown = match command {
        ContextCommand::Add(args) => add(io, contexts, args)?,
        ContextCommand::List => list(&contexts),
        ContextCommand::Use(args) => in_use(io, contexts, args.name.as_deref())?,
        ContextCommand::Remove(args) => remove(io, contexts, &args.name)?,
        ContextCommand::Show(args) => show(&contexts, args.name.as_deref())?,
    };
    shown.write(io, format)
}

fn add(io: &Io, mut contexts: Contexts, args: &AddContextArgs) -> Result<Shown, Failure> {
    let name = &args.name;
    if contexts.contexts.contains_key(name) && !args.replace {
        return Err(Failure::already_exists(format!("there is a context '{name}'"))
            .with_hint("--replace replaces it"));
    }
    let context = Context {
        endpoint: args.endpoint.clone(),
        token_file: absolute(args.token_file.as_deref())?,
        ca: absolute(args.ca.as_deref())?,
        cert: absolute(args.cert.as_deref())?,
        key: absolute(args.key.as_deref())?,
        torrent: args.default_torrent.clone(),
        format: args.default_format,
    };
    contexts.contexts.insert(name.clone(), context);
    if args.in_use {
        contexts.current = Some(name.clone());
    }
    contexts.save(&io.places)?;
    let used = if args.in_use { ", and in use" } else { "" };
    Ok(Shown { text: format!("context {name} is kept{used}\n"), ..one(&contexts, name)? })
}

/// A path that means the same wherever `shoalctl` is started.
fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    path.map(|path| std::path::absolute(path).map_err(|e| Failure::file(path, &e))).transpose()
}

fn list(contexts: &Contexts) -> Shown {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut grid = Grid::new([
        Column::Left("  NAME"),
        Column::Elastic("ENDPOINT"),
        Column::Left("TOKEN"),
        Column::Elastic("TORRENT"),
        Column::Left("FORMAT"),
    ]);
    for (name, context) in &contexts.contexts {
        let mark = if contexts.current.as_ref() == Some(name) { '*' } else { ' ' };
        grid.row([
            format!("{mark} {name}"),
            or_dash(context.endpoint.clone()),
            if context.token_file.is_some() { "yes" } else { "-" }.to_owned(),
            or_dash(context.torrent.clone()),
            or_dash(context.format.map(|format| format.word().to_owned())),
        ]);
    }
    let values: Vec<Value> = contexts.contexts.keys().map(|name| value(contexts, name)).collect();
    Shown {
        value: json!({ "contexts": values }),
        list: "/contexts",
        names: contexts.contexts.keys().cloned().collect(),
        text: match contexts.contexts.is_empty() {
            true => "there is no context; shoalctl context add keeps one\n".to_owned(),
            false => grid.render(None),
        },
    }
}

fn in_use(io: &Io, mut contexts: Contexts, name: Option<&str>) -> Result<Shown, Failure> {
    if let Some(name) = name {
        contexts.named(name)?;
    }
    contexts.current = name.map(str::to_owned);
    contexts.save(&io.places)?;
    Ok(match name {
        Some(name) => {
            Shown { text: format!("context {name} is in use\n"), ..one(&contexts, name)? }
        }
        None => Shown { text: "no context is in use\n".to_owned(), ..Shown::default() },
    })
}

fn remove(io: &Io, mut contexts: Contexts, name: &str) -> Result<Shown, Failure> {
    let gone = one(&contexts, name)?;
    contexts.contexts.remove(name);
    if contexts.current.as_deref() == Some(name) {
        contexts.current = None;
    }
    contexts.save(&io.places)?;
    Ok(Shown { text: format!("context {name} is forgotten\n"), ..gone })
}

fn show(contexts: &Contexts, name: Option<&str>) -> Result<Shown, Failure> {
    let Some(name) = name.or(contexts.current.as_deref()) else {
        return Err(Failure::no_context("no context is in use")
            .with_hint("shoalctl context list shows those there are"));
    };
    one(contexts, name)
}

/// A context, whole.
fn one(contexts: &Contexts, name: &str) -> Result<Shown, Failure> {
    let context = contexts.named(name)?;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let path = |path: &Option<PathBuf>| or_dash(path.as_ref().map(|p| p.display().to_string()));
    let in_use = contexts.current.as_deref() == Some(name);
    let text = block([
        ("name", name.to_owned()),
        ("in use", if in_use { "yes" } else { "no" }.to_owned()),
        ("endpoint", or_dash(context.endpoint.clone())),
        ("token file", path(&context.token_file)),
        ("ca", path(&context.ca)),
        ("cert", path(&context.cert)),
        ("key", path(&context.key)),
        ("torrent", or_dash(context.torrent.clone())),
        ("format", or_dash(context.format.map(|format| format.word().to_owned()))),
    ]);
    Ok(Shown { value: value(contexts, name), list: "", names: vec![name.to_owned()], text })
}

fn value(contexts: &Contexts, name: &str) -> Value {
    let context = contexts.contexts.get(name).cloned().unwrap_or_default();
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    json!({
        "name": name,
        "inUse": contexts.current.as_deref() == Some(name),
        "endpoint": context.endpoint,
        "tokenFile": path(&context.token_file),
        "ca": path(&context.ca),
        "cert": path(&context.cert),
        "key": path(&context.key),
        "torrent": context.torrent,
        "format": context.format,
    })
}
