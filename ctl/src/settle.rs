//! Which node a command goes to, and how: flags, then the environment, then a context, then what is
//! so anyway. Never here: the connection.

use std::{path::PathBuf, time::Duration};

use crate::{
    cli::{Format, Global},
    contexts::{Context, Contexts},
    failure::Failure,
    places::Places,
};

/// What holds for a run.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) endpoint: String,
    pub(crate) format: Option<Format>,
    /// The torrent where a command names none.
    pub(crate) torrent: Option<String>,
    pub(crate) timeout: Option<Duration>,
    /// Something to tell a person.
    pub(crate) note: Option<String>,
}

/// Settles what the flags and the environment (`global`) leave open.
///
/// # Errors
/// No such context, a file of contexts that cannot be read, or no place for the default node.
pub(crate) fn settle(global: &Global, places: &Places) -> Result<Settled, Failure> {
    let (name, context) = context(global, places)?;
    let elsewhere = global.endpoint.is_some() && global.endpoint != context.endpoint;
    // A token is for one node: another never sees it.
    let note = (elsewhere && global.context.is_some() && context.endpoint.is_some()).then(|| {
        let endpoint = global.endpoint.as_deref().unwrap_or_default();
        format!("the endpoint is {endpoint}, not that of context '{name}'")
    });
    let endpoint = match global.endpoint.clone().or(context.endpoint) {
        Some(endpoint) => endpoint,
        None => default_endpoint(places)?,
    };
    Ok(Settled {
        endpoint,
        format: global.format.or(context.format),
        torrent: context.torrent.filter(|_| !elsewhere),
        timeout: global.timeout,
        note,
    })
}

/// The context that is named, or in use; an empty one where there is none.
fn context(global: &Global, places: &Places) -> Result<(String, Context), Failure> {
    match &global.context {
        Some(name) => Ok((name.clone(), Contexts::load(places)?.named(name)?.clone())),
        None => {
            let contexts = Contexts::load(places)?;
            let Some(name) = contexts.current.clone() else { return Ok(Default::default()) };
            let context = contexts.named(&name)?.clone();
            Ok((name, context))
        }
    }
}

fn default_endpoint(places: &Places) -> Result<String, Failure> {
    let dir = places.state.as_ref().ok_or_else(|| {
        Failure::usage("neither XDG_STATE_HOME nor HOME is set: --endpoint names the node")
    })?;
    let socket = dir.join("shoald.sock").into_os_string().into_string().map_err(|path| {
        Failure::usage(format!("the path '{}' is not UTF-8", PathBuf::from(path).display()))
    })?;
    Ok(format!("unix://{socket}"))
}
