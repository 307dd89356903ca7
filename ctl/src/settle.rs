//! Which node a command goes to, and how: flags, then the environment, then a context, then what is
//! so anyway. Never here: the connection.

use std::{path::PathBuf, time::Duration};

use crate::{
    cli::{Access, Format, Global},
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
    /// Who calls, and whom to trust.
    pub(crate) access: Access,
    /// A file with the token, where neither a flag nor the environment names one.
    pub(crate) token_file: Option<PathBuf>,
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
    let kept = if elsewhere { Context::default() } else { context.clone() };
    let endpoint = match global.endpoint.clone().or(context.endpoint) {
        Some(endpoint) => endpoint,
        None => default_endpoint(places)?,
    };
    Ok(Settled {
        endpoint,
        format: global.format.or(context.format),
        torrent: kept.torrent,
        timeout: global.timeout,
        access: access(&global.access, (kept.ca, kept.cert, kept.key)),
        token_file: kept.token_file,
        note,
    })
}

/// What flags and environment leave open of authority, certificate and key. The last two are a pair.
fn access(given: &Access, kept: (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>)) -> Access {
    let (ca, cert, key) = kept;
    let mut access = given.clone();
    access.ca = access.ca.or(ca);
    if access.cert.is_none() && access.key.is_none() {
        (access.cert, access.key) = (cert, key);
    }
    access
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

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fs};

    use super::*;
    use crate::invocation::Invocation;

    const LAB: &str = "current = 'lab'\n[contexts.lab]\nendpoint = 'https://10.0.0.1:7002'\n\
                       token_file = '/t'\nca = '/ca'\ncert = '/c'\nkey = '/k'\ntorrent = 'film'\n";

    fn settled(line: &str) -> Settled {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("shoalctl.toml"), LAB).unwrap();
        let places = Places { config: Some(dir.path().to_owned()), state: None };
        let words = format!("shoalctl node info{line}");
        let invocation = Invocation::read(words.split(' ').map(OsString::from)).ok().unwrap();
        settle(&invocation.global, &places).unwrap()
    }

    fn path(text: &str) -> Option<PathBuf> {
        Some(PathBuf::from(text))
    }

    #[test]
    fn what_a_context_keeps_goes_to_its_own_node() {
        let lab = settled("");
        assert_eq!(
            (lab.endpoint.as_str(), lab.torrent.as_deref()),
            ("https://10.0.0.1:7002", Some("film"))
        );
        assert_eq!((lab.token_file, lab.access.ca), (path("/t"), path("/ca")));
        assert_eq!((lab.access.cert, lab.access.key), (path("/c"), path("/k")));
        assert!(
            settled(" --endpoint https://10.0.0.1:7002").token_file.is_some(),
            "it is the same"
        );
    }

    #[test]
    fn another_node_sees_nothing_of_it() {
        let other = settled(" --endpoint https://10.0.0.2:7002");
        assert_eq!((other.token_file, other.torrent, other.access.ca), (None, None, None));
        assert_eq!((other.access.cert, other.access.key), (None, None));
    }

    #[test]
    fn a_flag_overrules_and_a_certificate_keeps_its_key() {
        let own = settled(" --ca /mine --cert /mine --key /mine");
        assert_eq!((own.access.ca, own.access.cert), (path("/mine"), path("/mine")));
        let half = settled(" --cert /mine");
        assert_eq!((half.access.cert, half.access.key), (path("/mine"), None), "never a mixture");
    }
}
