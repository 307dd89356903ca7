//! `pusher`: distributes a file or folder of one shoal node to many, and tells how each did.
//!
//! It makes a torrent on the source node, adds it to every target, starts a download on all at once
//! and follows each until it is complete, failed or given up. The nodes fetch from each other, so
//! the source sends little more than one copy. The work is theirs: ending `pusher` ends no download,
//! and running it again joins those at work.

mod args;
mod call;
mod report;
mod source;
mod target;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser as _;
use tokio::{sync::mpsc, task::JoinSet};

use args::Args;
use call::Failure;
use report::{Node, Report, State};
use target::News;

/// How often a person is told of progress, at most.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// News that wait to be told, of all targets.
const NEWS_MAX: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Arc::new(Args::parse());
    let report = tokio::select! {
        // Nothing that the source did so far is in the way of another attempt.
        () = interrupted() => {
            say("interrupted");
            return ExitCode::from(130);
        }
        made = source::release(&args) => match made {
            Err(failure) => Report::of_failed_source(&args, failure),
            Ok(release) => {
                say(&format!("{}: {} bytes, {}", release.name, release.bytes, release.info_hash));
                return end(&args, &push(&args, Arc::new(release)).await);
            }
        },
    };
    end(&args, &report)
}

/// Distributes a release: every target at once, until all have ended, the time is up or Ctrl-C.
async fn push(args: &Arc<Args>, release: Arc<source::Release>) -> Report {
    let began = Instant::now();
    let mut report = Report::new(args, &release);
    let (tell, mut news) = mpsc::channel(NEWS_MAX);
    let mut tasks = JoinSet::new();
    for index in 0..report.nodes.len() {
        let (args, release, tell) = (Arc::clone(args), Arc::clone(&release), tell.clone());
        tasks.spawn(async move { target::follow(&args, index, &release, &tell).await });
    }
    drop(tell);
    let mut told = vec![began; report.nodes.len()];
    let limit = args.give_up.unwrap_or(Duration::MAX);
    let stop = tokio::time::sleep(limit);
    tokio::pin!(stop);
    let stopped = interrupted();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => {
                report.unfinished(State::Interrupted, began.elapsed(), &Failure::interrupted());
                break;
            }
            next = news.recv() => match next {
                Some(news) => take(&mut report.nodes, &mut told, began, news),
                // Every target has told its end.
                None => break,
            },
            () = &mut stop => {
                report.unfinished(State::Failed, began.elapsed(), &Failure::late(limit));
                break;
            }
        }
    }
    // Calls end here; jobs go on.
    tasks.shutdown().await;
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// Takes in what one target told.
fn take(nodes: &mut [Node], told: &mut [Instant], began: Instant, news: News) {
    let (index, line, last) = match news {
        News::Progress { index, bytes, line } => {
            nodes[index].bytes = bytes;
            (index, line, false)
        }
        News::Complete { index, done } => {
            nodes[index].complete(began.elapsed(), done);
            (index, "complete".to_owned(), true)
        }
        News::Failed { index, failure } => {
            let line = failure.to_string();
            nodes[index].failed(began.elapsed(), failure);
            (index, line, true)
        }
    };
    if last || told[index].elapsed() >= TELL_EVERY {
        told[index] = Instant::now();
        say(&format!("{}: {line}", nodes[index].endpoint));
    }
}

fn end(args: &Args, report: &Report) -> ExitCode {
    let text = if args.json { report.json() } else { report.table() };
    let mut out = io::stdout().lock();
    // Who closed the pipe has seen enough; the exit code says the rest.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    report.exit()
}

/// Ctrl-C. Where the system has no signals for us, never.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Talk goes to stderr, results to stdout.
fn say(line: &str) {
    // Nobody reads stderr: there is nowhere left to say so.
    let _ = writeln!(io::stderr(), "{line}");
}
