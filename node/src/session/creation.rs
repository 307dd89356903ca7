//! Creations: a torrent made of a file or folder, on a thread of its own, as a job of the session.
//!
//! Never here: the walk and the hashing.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use shoal_core::{
    ids::{InfoHash, JobId},
    metainfo::Metainfo,
    session::{
        Event,
        command::{Command, CommandError, Done},
        event::OutsideNews,
    },
};
use tokio::sync::watch;

use super::{
    handle::{
        AddError, AddSource, AddTorrent, Added, CreateError, CreateProgress, CreateTorrent,
        Created, Creation,
    },
    inbox::{AddReply, DiskNews, Inbox, Input, Reply},
    perform::guarded,
    run::{ReplyTo, Shell},
};
use crate::disk::{self, CreateOptions, DiskError};

/// Creations at once: each hashes on all cores already.
pub(super) const CREATIONS_MAX: usize = 4;
/// Progress reaches the session this often; the caller's channel has every step.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// A creation that waits for its job.
pub(super) struct Wanted {
    create: CreateTorrent,
    reply: Reply<Result<Creation, CreateError>>,
}

/// The creations under way.
#[derive(Default)]
pub(super) struct Creations {
    running: BTreeMap<JobId, Running>,
    /// Threads of creations, ended ones too until the next look.
    threads: Vec<JoinHandle<()>>,
}

struct Running {
    cancel: Arc<AtomicBool>,
    end: CreationEnd,
    /// What is to be seeded, where it is.
    seed: Option<PathBuf>,
}

/// What a creation ends with.
pub(super) struct CreationEnd {
    job: JobId,
    result: Reply<Result<Created, CreateError>>,
    created: Option<Created>,
}

impl Creations {
    /// Asks a creation to end.
    pub(super) fn stop(&self, job: JobId) {
        if let Some(running) = self.running.get(&job) {
            running.cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Asks all of them to end, and gives their threads to be joined.
    pub(super) fn stop_all(&mut self) -> Vec<JoinHandle<()>> {
        self.running.values().for_each(|running| running.cancel.store(true, Ordering::Relaxed));
        std::mem::take(&mut self.threads)
    }
}

impl Shell {
    pub(super) fn begin_creation(
        &mut self,
        create: CreateTorrent,
        reply: Reply<Result<Creation, CreateError>>,
    ) {
        if self.stopping.is_some() {
            drop(reply.send(Err(CreateError::Command(CommandError::ShuttingDown))));
            return;
        }
        if self.creations.running.len() >= CREATIONS_MAX {
            drop(reply.send(Err(CreateError::TooMany { limit: CREATIONS_MAX })));
            return;
        }
        let last = create.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = create.name.clone().or(last).unwrap_or_default();
        let wanted = Box::new(Wanted { create, reply });
        self.issue(Command::BeginOutsideJob { name }, ReplyTo::Create(wanted));
    }

    /// The session gave a creation its job, or not.
    pub(super) fn on_creation_job(&mut self, wanted: Wanted, result: Result<Done, CommandError>) {
        let Wanted { create, reply } = wanted;
        let job = match result {
            Ok(Done::Job { job, .. }) => job,
            Ok(_) => return drop(reply.send(Err(CreateError::Command(CommandError::Cancelled)))),
            Err(error) => return drop(reply.send(Err(CreateError::Command(error)))),
        };
        let cancel = Arc::new(AtomicBool::new(false));
        let (told, progress) = watch::channel(CreateProgress::default());
        let (result, ended) = tokio::sync::oneshot::channel();
        let seed = create.seed.then(|| create.path.clone());
        let end = CreationEnd { job, result, created: None };
        let work = Work { job, create, told, cancel: cancel.clone(), inbox: self.inbox.clone() };
        let thread = std::thread::Builder::new().name("create".to_owned()).spawn(|| work.run());
        match thread {
            Ok(thread) => {
                self.creations.threads.retain(|thread| !thread.is_finished());
                self.creations.threads.push(thread);
                self.creations.running.insert(job, Running { cancel, end, seed });
                drop(reply.send(Ok(Creation { job, progress, result: ended })));
            }
            Err(error) => {
                let failed = OutsideNews::Ended(Err(error.to_string()));
                self.later(Event::OutsideJob { job, news: failed });
                let (path, cause) = (PathBuf::new(), error.to_string());
                drop(reply.send(Err(CreateError::Source { path, cause })));
            }
        }
    }

    /// The thread of a creation has ended.
    pub(super) fn on_created(
        &mut self,
        job: JobId,
        result: Result<disk::Created, disk::CreateError>,
    ) {
        let Some(Running { cancel, mut end, seed }) = self.creations.running.remove(&job) else {
            return;
        };
        let made = match result {
            Ok(_) if cancel.load(Ordering::Relaxed) => Err(CreateError::Cancelled),
            Ok(made) => Ok(made),
            Err(error) => Err(create_error(error)),
        };
        let made = made.and_then(|made| Ok((info_hash(&made)?, made)));
        let (info_hash, made) = match made {
            Ok(made) => made,
            Err(error) => return self.tell_end(end, Err(error)),
        };
        let skipped = made.skipped.iter().map(|path| path.display().to_string()).collect();
        let metainfo = made.metainfo.clone();
        let created = Created { metainfo: made.metainfo, info_hash, skipped, added: None };
        match seed {
            Some(path) => {
                end.created = Some(created);
                let add = AddTorrent { metainfo, source: AddSource::Seed(path) };
                self.begin_add(add, AddReply::Creation(Box::new(end)));
            }
            None => self.tell_end(end, Ok(created)),
        }
    }

    /// What was made was added, or not.
    pub(super) fn end_creation(&mut self, mut end: CreationEnd, result: Result<Added, AddError>) {
        let result = match (result, end.created.take()) {
            (Ok(added), Some(created)) => Ok(Created { added: Some(added), ..created }),
            (Ok(_), None) => Err(CreateError::Cancelled),
            (Err(error), _) => Err(CreateError::Add(error)),
        };
        self.tell_end(end, result);
    }

    fn tell_end(&mut self, end: CreationEnd, result: Result<Created, CreateError>) {
        let CreationEnd { job, result: reply, .. } = end;
        let ended = result.as_ref().map(|_| ()).map_err(ToString::to_string);
        // The caller first: whoever follows the job finds the result there.
        drop(reply.send(result));
        self.later(Event::OutsideJob { job, news: OutsideNews::Ended(ended) });
    }
}

/// The thread of a creation.
struct Work {
    job: JobId,
    create: CreateTorrent,
    told: watch::Sender<CreateProgress>,
    cancel: Arc<AtomicBool>,
    inbox: Inbox,
}

impl Work {
    fn run(self) {
        let Self { job, create, told, cancel, inbox } = self;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let options = CreateOptions {
            path: create.path.clone(),
            name: create.name,
            piece_len: create.piece_len,
            pad: create.pad,
            private: create.private,
            trackers: create.trackers,
            web_seeds: create.web_seeds,
            comment: create.comment,
            created_unix: since_1970.and_then(|time| i64::try_from(time.as_secs()).ok()),
        };
        let begun = Instant::now();
        let next_ms = AtomicU64::new(0);
        let progress = |done_bytes: u64, total_bytes: u64| {
            told.send_if_modified(|shown| {
                // Told from several threads, and not in order.
                let newer = done_bytes > shown.done_bytes || total_bytes != shown.total_bytes;
                if newer {
                    *shown = CreateProgress { done_bytes, total_bytes };
                }
                newer
            });
            let now_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let due = next_ms.load(Ordering::Relaxed);
            let then = now_ms.saturating_add(PROGRESS_EVERY.as_millis() as u64);
            let order = Ordering::Relaxed;
            if now_ms >= due && next_ms.compare_exchange(due, then, order, order).is_ok() {
                let news = OutsideNews::Progress { done_bytes, total_bytes };
                inbox.tell(Input::Core(Event::OutsideJob { job, news }));
            }
        };
        let broken = || {
            let path = create.path.clone();
            let source = std::io::Error::other("the thread that read it failed");
            Err(disk::CreateError::Disk(DiskError::Io { path, source }))
        };
        let result = guarded(|| disk::create(&options, &progress, &cancel), broken);
        inbox.tell(Input::Disk(DiskNews::Created { job, result }));
    }
}

fn info_hash(made: &disk::Created) -> Result<InfoHash, CreateError> {
    Ok(Metainfo::parse(&made.metainfo)?.info_hash)
}

fn create_error(error: disk::CreateError) -> CreateError {
    use disk::CreateError as Made;
    let source = |path: PathBuf, cause: String| CreateError::Source { path, cause };
    let text = error.to_string();
    match error {
        Made::Disk(DiskError::Io { path, source: cause }) => source(path, cause.to_string()),
        Made::Disk(_) => source(PathBuf::new(), text),
        Made::NotContent { path } => source(path, "is neither a file nor a folder".to_owned()),
        Made::NotUtf8 { path } => source(path, "has a name that is not UTF-8".to_owned()),
        Made::TooMuch { path } => source(path, "has too many files or levels".to_owned()),
        Made::Changed { path } => source(path, "changed while it was hashed".to_owned()),
        Made::Cancelled => CreateError::Cancelled,
        Made::Metainfo(error) => CreateError::Metainfo(error),
    }
}
