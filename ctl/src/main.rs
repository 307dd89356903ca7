//! `shoalctl`: every command of a node from the shell. Never here: a command.

use std::{env, ffi::OsString, process::ExitCode, sync::Arc};

use shoal_ctl::{Exit, Io};
use tokio::{runtime::Builder, sync::Notify};

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().collect();
    // A shell that asks for candidates gets nothing else, an error least of all.
    if shoal_ctl::complete::complete(&args).unwrap_or(false) {
        return ExitCode::SUCCESS;
    }
    let runtime = match Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("shoalctl: no runtime: {error}");
            return Exit::Internal.into();
        }
    };
    let interrupt = Arc::new(Notify::new());
    let told = Arc::clone(&interrupt);
    runtime.spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            told.notify_waiters();
        }
    });
    let mut io = Io::standard(interrupt);
    let exit = runtime.block_on(shoal_ctl::run(args, &mut io));
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    exit.into()
}
