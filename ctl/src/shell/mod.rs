//! `shoalctl shell`: commands from a prompt or from standard input, in the specification's spelling
//! too. Never here: what a command does.

use std::{ffi::OsString, net::SocketAddr, time::Duration};

use shoal::v1;

use crate::{
    clean::clean, commands, exit::Exit, explain, failure::Failure, invocation::Invocation, one,
    session::Session, tell,
};

mod complete;
mod line;
mod terminal;

use complete::Candidates;
use line::Line;
use terminal::{Entered, Terminal};

/// Longest wait for what the prompt shows.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// The prompt of a node that does not tell where it listens.
const PROMPT_DEFAULT: &str = "[shoal] ";

/// Takes commands until the input ends. From a terminal that is success; otherwise the exit code is
/// the last failure's.
pub(crate) async fn serve(
    session: &mut Session<'_>,
    timeout: Option<Duration>,
) -> Result<Exit, Failure> {
    if session.io.terminals.stdin && session.io.terminals.stdout {
        Box::pin(converse(session, timeout)).await
    } else {
        Box::pin(obey(session, timeout)).await
    }
}

/// Commands from a person.
async fn converse(session: &mut Session<'_>, timeout: Option<Duration>) -> Result<Exit, Failure> {
    let candidates = Candidates {
        connection: session.connection(),
        places: session.io.places.clone(),
        torrent: session.torrent.clone(),
    };
    let mut terminal = Terminal::open(candidates).map_err(|e| Failure::stdio(&e))?;
    let mut shown = PROMPT_DEFAULT.to_owned();
    loop {
        if let Some(fresh) = Box::pin(prompt(session)).await {
            shown = fresh;
        }
        match terminal.ask(&shown).await.map_err(|e| Failure::stdio(&e))? {
            Entered::Line(text) => match Box::pin(entered(session, &text, timeout)).await? {
                Flow::Next(_) => {}
                Flow::End => return Ok(Exit::Ok),
            },
            Entered::Abandoned => {}
            Entered::End => return Ok(Exit::Ok),
        }
    }
}

/// Commands from a file or a pipe.
async fn obey(session: &mut Session<'_>, timeout: Option<Duration>) -> Result<Exit, Failure> {
    let interrupt = std::sync::Arc::clone(&session.io.interrupt);
    let mut last_failure = Exit::Ok;
    loop {
        let line = tokio::select! {
            line = session.io.read_line() => line.map_err(|e| Failure::stdio(&e))?,
            () = interrupt.notified() => return Err(Failure::interrupted(None)),
        };
        let Some(line) = line else { return Ok(last_failure) };
        match Box::pin(entered(session, &line, timeout)).await? {
            Flow::Next(Exit::Ok) => {}
            Flow::Next(Exit::Interrupted) => return Ok(Exit::Interrupted),
            Flow::Next(failure) => last_failure = failure,
            Flow::End => return Ok(last_failure),
        }
    }
}

enum Flow {
    /// Go on; the command ended so.
    Next(Exit),
    /// The shell is to end.
    End,
}

/// Carries out one line. A failed command has told its failure; only a reader that went away ends
/// the shell with an error.
async fn entered(
    session: &mut Session<'_>,
    text: &str,
    timeout: Option<Duration>,
) -> Result<Flow, Failure> {
    let base = session.format;
    let words = match line::parse(text) {
        Ok(Line::Empty) => return Ok(Flow::Next(Exit::Ok)),
        Ok(Line::End) => return Ok(Flow::End),
        Ok(Line::Words(words)) => words,
        Err(message) => {
            return Ok(Flow::Next(tell(&Failure::usage(message), base, session.io)));
        }
    };
    let words = std::iter::once("shoalctl".to_owned()).chain(words).map(OsString::from);
    let invocation = match Invocation::read(words) {
        Ok(invocation) => invocation,
        Err(error) => return Ok(Flow::Next(explain(&error, base, session.io))),
    };
    // What stands in the environment held when the shell began, and does not overrule its own options.
    let wanted = invocation.global.format.filter(|_| invocation.typed("format")).unwrap_or(base);
    let limit = invocation.global.timeout.filter(|_| invocation.typed("timeout")).or(timeout);
    let done = match invocation.format(wanted) {
        Ok(format) => {
            session.begin(format, invocation.knows(), limit);
            carried_out(session, invocation).await
        }
        Err(failure) => Err(failure),
    };
    session.format = base;
    match done {
        Ok(()) => Ok(Flow::Next(Exit::Ok)),
        Err(Failure::Closed) => Err(Failure::Closed),
        Err(failure) => Ok(Flow::Next(tell(&failure, wanted, session.io))),
    }
}

async fn carried_out(session: &mut Session<'_>, invocation: Invocation) -> Result<(), Failure> {
    if let Some(done) = commands::local::carry_out(session.io, session.format, &invocation.command)
    {
        return done;
    }
    if ["endpoint", "context", "token_file", "ca", "cert", "key"]
        .into_iter()
        .any(|option| invocation.typed(option))
    {
        return Err(Failure::usage(
            "a shell stays with its node: it is named, with token and certificates, where the shell starts",
        ));
    }
    one(session, invocation).await
}

/// The prompt: where this peer listens, `[192.168.1.181,7000] `; `None` where nothing tells.
async fn prompt(session: &Session<'_>) -> Option<String> {
    let torrent = session.select(None);
    let request = tonic::Request::new(v1::SeeThisPeerInfoRequest { torrent, names_max: 1 });
    let mut peer = session.peer();
    let reply = tokio::time::timeout(PROMPT_TIMEOUT, peer.see_this_peer_info(request)).await;
    if let Ok(Ok(reply)) = reply
        && let Some(own) = reply.into_inner().self_
    {
        return Some(format!("[{},{}] ", clean(&own.ip), own.port));
    }
    let mut node = session.node();
    let info = node.get_info(v1::GetInfoRequest {});
    let info = tokio::time::timeout(PROMPT_TIMEOUT, info).await.ok()?.ok()?.into_inner();
    let own: SocketAddr = info.peer_address.parse().ok()?;
    Some(format!("[{},{}] ", own.ip(), own.port()))
}
