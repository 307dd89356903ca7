//! Asks for candidates: a node within a short time, or what is known without one. Silent where nothing
//! answers. Never here: a shell.

use std::{ffi::OsString, net::IpAddr, time::Duration};

use clap::{CommandFactory as _, FromArgMatches as _};
use shoal::client::Connection;

use super::{What, lists};
use crate::{
    api::{Api, comment},
    clean::clean,
    cli::{Cli, Global},
    connect,
    contexts::Contexts,
    places::Places,
    settle::settle,
};

/// Longest time that a person waits for candidates, from the connection to the last reply.
const PATIENCE: Duration = Duration::from_millis(600);

/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What would stand on the line; needs no quotes.
    pub(crate) value: String,
    /// What it is.
    pub(crate) about: String,
}

/// The way to a node.
pub(crate) enum Reach {
    /// By what the line says, in which something is to be completed.
    Line {
        /// The line's words, the program's name first.
        words: Vec<OsString>,
        /// The user's folders.
        places: Places,
    },
    /// A connection is there.
    There {
        /// It.
        connection: Connection,
        /// The line's words.
        words: Vec<OsString>,
        /// The user's folders.
        places: Places,
        /// The torrent where the line names none.
        torrent: Option<String>,
    },
}

/// Knows candidates.
pub(crate) struct Asker {
    reach: Reach,
}

impl Asker {
    /// One that asks the node of a line.
    pub(crate) const fn new(reach: Reach) -> Self {
        Self { reach }
    }

    /// Every candidate; none where the node does not answer in time.
    pub(crate) fn ask(&self, what: What) -> Vec<Found> {
        match what {
            What::Context => return self.contexts(),
            What::Method | What::Symbol => return symbols(what),
            What::Torrent
            | What::Ip
            | What::Port
            | What::Chunk
            | What::File
            | What::Job
            | What::Swarm
            | What::Policy
            | What::Token => {}
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return Vec::new() };
        let asked = async { tokio::time::timeout(PATIENCE, self.node(what)).await };
        runtime.block_on(asked).ok().flatten().unwrap_or_default()
    }

    fn contexts(&self) -> Vec<Found> {
        let contexts = Contexts::load(self.places()).unwrap_or_default().contexts;
        let found = |(name, context): (String, crate::contexts::Context)| Found {
            value: name,
            about: clean(&context.endpoint.unwrap_or_default()).into_owned(),
        };
        contexts.into_iter().map(found).collect()
    }

    const fn places(&self) -> &Places {
        match &self.reach {
            Reach::Line { places, .. } | Reach::There { places, .. } => places,
        }
    }

    async fn node(&self, what: What) -> Option<Vec<Found>> {
        let (line, node) = match &self.reach {
            Reach::Line { words, places } => {
                let line = Line::read(words)?;
                let settled = settle(&line.global, places).ok()?;
                let kept = settled.token_file.as_deref();
                let how = connect::how(&settled.endpoint, &settled.access, kept).ok()?;
                let node = how.connect().await.ok()?;
                (Line { torrent: line.torrent.or(settled.torrent), ..line }, node)
            }
            Reach::There { connection, words, torrent, .. } => {
                let line = Line::read(words)?;
                (
                    Line { torrent: line.torrent.or_else(|| torrent.clone()), ..line },
                    connection.clone(),
                )
            }
        };
        let torrent = line.torrent.unwrap_or_default();
        match what {
            What::Torrent => lists::torrents(node).await,
            What::Ip => lists::peers(node, torrent).await.map(|peers| lists::ips(&peers)),
            What::Port => {
                lists::peers(node, torrent).await.map(|peers| lists::ports(&peers, line.ip))
            }
            What::Chunk => lists::chunks(node, torrent).await,
            What::File => lists::files(node, torrent).await,
            What::Job => lists::jobs(node).await,
            What::Swarm => lists::swarms(node).await,
            What::Policy => lists::policies(node).await,
            What::Token => lists::tokens(node).await,
            What::Context | What::Method | What::Symbol => Ok(Vec::new()),
        }
        .ok()
    }
}

/// Methods, and services where anything of the API may be meant, as this program knows them.
fn symbols(what: What) -> Vec<Found> {
    let Ok(api) = Api::built_in() else { return Vec::new() };
    let mut found = Vec::new();
    for service in api.services() {
        if what == What::Symbol {
            let about = comment(service.full_name()).to_owned();
            found.push(Found { value: service.name().to_owned(), about });
        }
        found.extend(service.methods().map(|method| Found {
            value: method.name().to_owned(),
            about: comment(method.full_name()).to_owned(),
        }));
    }
    found
}

/// What an unfinished line says already.
struct Line {
    global: Global,
    torrent: Option<String>,
    ip: Option<IpAddr>,
}

impl Line {
    fn read(words: &[OsString]) -> Option<Self> {
        let tree = Cli::command().ignore_errors(true);
        let matches = tree.try_get_matches_from(words).ok()?;
        let mut deepest = &matches;
        while let Some((_, deeper)) = deepest.subcommand() {
            deepest = deeper;
        }
        let torrent = deepest.try_get_one::<String>("torrent").ok().flatten().cloned();
        let ip = deepest.try_get_one("ip").ok().flatten().copied();
        Some(Self { global: Global::from_arg_matches(&matches).ok()?, torrent, ip })
    }
}
