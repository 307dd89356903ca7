//! `shoald`: the node. Reads the command line, starts, waits for the end, ends in order. Never
//! here: what a node is.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
    time::SystemTime,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shoal_node::{
    auth::cert::{self, CertOptions},
    cli::{self, Run},
    config::{NodeConfig, value::LogFormat},
    dev,
    exit::Exit,
    log,
    node::Node,
    simulation::terminal,
    supervise,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let vars = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let exit = match cli::read(env::args_os(), &vars.collect()) {
        Err(usage) => {
            let clap_s = usage.text.starts_with("error: ");
            say(&format!("{}{}", if clap_s { "" } else { "error: " }, usage.text.trim_end()));
            usage.exit
        }
        Ok(Run::Print(text)) => print(&text),
        Ok(Run::Node(config)) => {
            let log = config.log.clone();
            with_runtime(&log, config.log_format, run(*config))
        }
        Ok(Run::Dev(options)) => {
            let log = options.log.clone();
            with_runtime(&log, LogFormat::Text, develop(options))
        }
        Ok(Run::Cert(options)) => certify(&options),
        Ok(Run::Sim(args)) => terminal::run(&args),
    };
    exit.into()
}

/// Runs the program's main task: signals and waiting. The rooms of a node bring their own threads.
fn with_runtime(filter: &str, format: LogFormat, work: impl Future<Output = Exit>) -> Exit {
    if let Err(error) = log::begin(filter, format) {
        say(&format!("error: log: {error}"));
        return Exit::Usage;
    }
    raise_open_files();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(work);
            // A blocked read of a name must not hold up the end.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            say(&format!("error: cannot start threads: {error}"));
            Exit::Internal
        }
    }
}

/// Makes certificates, and says where they are.
fn certify(options: &CertOptions) -> Exit {
    match cert::make(options, SystemTime::now()) {
        Ok(made) => print(&made.to_string()),
        Err(error) => {
            say(&format!("error: {error}"));
            error.exit()
        }
    }
}

async fn run(config: NodeConfig) -> Exit {
    let Some(mut signals) = Signals::new() else { return Exit::Internal };
    let waits = config.peer.as_ref().is_some_and(|peer| peer.exit_when_complete);
    let node = tokio::select! {
        started = Node::start(config) => started,
        () = signals.next() => return Exit::Interrupted,
    };
    let node = match node {
        Ok(node) => node,
        Err(error) => {
            say(&format!("error: {error}"));
            return error.exit();
        }
    };
    supervise::ready();
    let exit = tokio::select! {
        never = supervise::keep_alive(node.vitals()) => match never {},
        () = signals.next() => Exit::Ok,
        () = node.wait() => Exit::Ok,
        completed = node.completed(), if waits => {
            for (name, cause) in &completed.failed {
                say(&format!("error: {name:?} is not complete: {cause}"));
            }
            if completed.failed.is_empty() { Exit::Ok } else { Exit::Precondition }
        }
    };
    supervise::stopping();
    tokio::select! {
        report = node.shutdown() => {
            for line in &report.unfinished {
                tracing::warn!(line, "not finished");
            }
            exit
        }
        () = signals.next() => Exit::Interrupted,
    }
}

async fn develop(options: dev::DevOptions) -> Exit {
    let Some(mut signals) = Signals::new() else { return Exit::Internal };
    let stop = tokio_util::sync::CancellationToken::new();
    let work = dev::run(options, stop.clone());
    tokio::pin!(work);
    tokio::select! {
        exit = &mut work => return exit,
        () = signals.next() => stop.cancel(),
    }
    tokio::select! {
        exit = work => exit,
        () = signals.next() => Exit::Interrupted,
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Option<Self> {
        let both = signal(SignalKind::interrupt())
            .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
        match both {
            Ok((interrupt, terminate)) => Some(Self { interrupt, terminate }),
            Err(error) => {
                say(&format!("error: cannot listen for signals: {error}"));
                None
            }
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Raises the soft limit of open files to the hard one: connections and files share it.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays where it is");
    }
}

fn say(line: &str) {
    // Nobody reads stderr: there is nowhere left to say so.
    let _ = writeln!(io::stderr(), "{line}");
}

fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has seen enough is no fault.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("error: stdout: {error}"));
            Exit::Internal
        }
        Ok(()) | Err(_) => Exit::Ok,
    }
}
