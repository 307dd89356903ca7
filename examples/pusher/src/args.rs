//! The command line.

use std::{convert::Infallible, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::Parser;
use shoal::client::{Connect, ConnectError, Connection};

/// Distributes a file or folder of one shoal node to many, and tells how each did
///
/// Exit codes: 0 every node is complete, 1 one is not, 2 usage, 130 interrupted. The downloads
/// belong to the nodes: they go on without this program, and another run joins them.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100)]
pub(crate) struct Args {
    /// File or folder on the source node: an absolute path
    pub(crate) path: PathBuf,
    /// The node that has it: unix:///PATH, http://HOST:PORT or https://HOST:PORT, and behind a '='
    /// the file with its token
    #[arg(long, value_name = "ENDPOINT[=TOKEN_FILE]")]
    pub(crate) source: Place,
    /// A node that shall have it; repeatable
    #[arg(long = "to", value_name = "ENDPOINT[=TOKEN_FILE]", required = true)]
    pub(crate) targets: Vec<Place>,
    /// The token of every node that has no file of its own; it needs the scopes read and write
    #[arg(long, value_name = "FILE", env = "SHOAL_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of the authority that signed the nodes' certificates [default: public ones]
    #[arg(long, value_name = "FILE", env = "SHOAL_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// What the release is called [default: the last component of PATH]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Announce URL [default: that of the source's own tracker, where it has the role]
    #[arg(long, value_name = "URL")]
    pub(crate) tracker: Option<String>,
    /// Where the targets reach the source's peer port; needed where nobody tracks and the source
    /// listens on all addresses
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) source_peer: Option<SocketAddr>,
    /// How long a node may be silent before it is given up, seconds, 3-3600: a node at work tells
    /// how it stands every two
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = patience)]
    pub(crate) patience: Duration,
    /// Report whoever is not complete after so many seconds as failed [default: wait]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) give_up: Option<Duration>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A node, and the file with its token where it has one of its own.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) endpoint: String,
    token_file: Option<PathBuf>,
}

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (endpoint, token_file) = match text.split_once('=') {
            Some((endpoint, file)) => (endpoint, Some(PathBuf::from(file))),
            None => (text, None),
        };
        Ok(Self { endpoint: endpoint.to_owned(), token_file })
    }
}

impl Args {
    /// Connects to a node, with the token and the authority that the command line has for it.
    pub(crate) async fn connect(&self, place: &Place) -> Result<Connection, ConnectError> {
        let mut how = Connect::to(&place.endpoint);
        if let Some(file) = place.token_file.as_ref().or(self.token_file.as_ref()) {
            how = how.token_file(file);
        }
        // Only TLS asks for trust: other endpoints may stand in the same line.
        if let Some(ca) = self.ca.as_ref().filter(|_| place.endpoint.starts_with("https:")) {
            how = how.ca_file(ca);
        }
        how.connect().await
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds.into())),
        Ok(_) | Err(_) => Err("expected a whole number of seconds".to_owned()),
    }
}

fn patience(text: &str) -> Result<Duration, String> {
    let within = Duration::from_secs(3)..=Duration::from_secs(3600);
    let patience = seconds(text)?;
    within.contains(&patience).then_some(patience).ok_or_else(|| "expected 3-3600".to_owned())
}
