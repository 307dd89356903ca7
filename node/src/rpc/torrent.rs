//! `TorrentService`: create, add, look at, select, verify, pause, resume, remove.

mod creation;
mod wanted;

use std::{fs, io::Read as _, net::SocketAddr};

use shoal::v1::{self as api, torrent_service_server::TorrentService};
use shoal_core::{
    bitfield::Bitfield,
    config::{GIVEN_PEERS_MAX, METAINFO_LEN_MAX},
    ids::{InfoHash, TorrentId},
    magnet::Magnet,
    metainfo::MetainfoError,
    session::{Session, command::Command},
};
use tonic::{Request, Response, Status};

use super::{
    context::{Context, Known, owned, via},
    field,
    follow::{Replies, follow, job_of},
    message::{file, progress, quest, regular_files, tiers, torrent, web_seed},
    page::{self, List},
    roots::{ShareRoots, Via},
    status::{Reason, Refusal},
};
use crate::session::{
    handle::{AddError, AddSource, AddTorrent},
    magnets::AddMagnet,
};

type Reply<M> = Result<Response<M>, Status>;

const TORRENTS: List = List("torrents");
const FILES: List = List("files");

#[tonic::async_trait]
impl TorrentService for Context {
    type CreateTorrentStream = Replies<api::CreateTorrentResponse>;
    type VerifyTorrentStream = Replies<api::VerifyTorrentResponse>;

    async fn create_torrent(
        &self,
        request: Request<api::CreateTorrentRequest>,
    ) -> Reply<Self::CreateTorrentStream> {
        let (this, via, request) = (self.clone(), via(&request), request.into_inner());
        owned(async move { creation::create(&this, via, request).await.map(Response::new) }).await
    }

    async fn add_torrent(
        &self,
        request: Request<api::AddTorrentRequest>,
    ) -> Reply<api::AddTorrentResponse> {
        let (this, via, request) = (self.clone(), via(&request), request.into_inner());
        owned(async move { add(&this, via, request).await.map(Response::new) }).await
    }

    async fn list_torrents(
        &self,
        request: Request<api::ListTorrentsRequest>,
    ) -> Reply<api::ListTorrentsResponse> {
        Ok(Response::new(list(self, request.into_inner()).await?))
    }

    async fn get_torrent(
        &self,
        request: Request<api::GetTorrentRequest>,
    ) -> Reply<api::GetTorrentResponse> {
        Ok(Response::new(get(self, request.into_inner()).await?))
    }

    async fn select_files(
        &self,
        request: Request<api::SelectFilesRequest>,
    ) -> Reply<api::SelectFilesResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { wanted::select(&this, request).await.map(Response::new) }).await
    }

    async fn verify_torrent(
        &self,
        request: Request<api::VerifyTorrentRequest>,
    ) -> Reply<Self::VerifyTorrentStream> {
        let (this, selector) = (self.clone(), request.into_inner().torrent);
        owned(async move { verify(&this, selector).await.map(Response::new) }).await
    }

    async fn pause_torrent(
        &self,
        request: Request<api::PauseTorrentRequest>,
    ) -> Reply<api::PauseTorrentResponse> {
        let (this, selector) = (self.clone(), request.into_inner().torrent);
        owned(async move {
            let torrent = Some(change(&this, selector, Command::Pause).await?);
            Ok(Response::new(api::PauseTorrentResponse { torrent }))
        })
        .await
    }

    async fn resume_torrent(
        &self,
        request: Request<api::ResumeTorrentRequest>,
    ) -> Reply<api::ResumeTorrentResponse> {
        let (this, selector) = (self.clone(), request.into_inner().torrent);
        owned(async move {
            let torrent = Some(change(&this, selector, Command::Resume).await?);
            Ok(Response::new(api::ResumeTorrentResponse { torrent }))
        })
        .await
    }

    async fn remove_torrent(
        &self,
        request: Request<api::RemoveTorrentRequest>,
    ) -> Reply<api::RemoveTorrentResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move {
            this.peer_role()?;
            if request.torrent.is_empty() {
                return Err(Refusal::field("torrent", "is empty; removing asks for a name"));
            }
            let known = this.find(request.torrent).await?;
            let delete_data = request.delete_data;
            this.command(Command::Remove { torrent: known.id(), delete_data }).await?;
            let (name, info_hash) = known.key();
            Ok(Response::new(api::RemoveTorrentResponse {
                info_hash: info_hash.to_string(),
                name: name.to_owned(),
            }))
        })
        .await
    }
}

/// A torrent or a magnet link as it stands, with its place.
pub(super) async fn described(this: &Context, id: TorrentId) -> Result<api::Torrent, Refusal> {
    shown(this, move |session| known(session, id)).await
}

/// A magnet link that was just given; its torrent, where its metadata was quicker.
async fn sought(this: &Context, id: TorrentId, hash: InfoHash) -> Result<api::Torrent, Refusal> {
    let found = move |session: &Session| session.by_hash(&hash).and_then(|id| known(session, id));
    shown(this, move |session| known(session, id).or_else(|| found(session))).await
}

async fn shown(
    this: &Context,
    look: impl FnOnce(&Session) -> Option<Known> + Send + 'static,
) -> Result<api::Torrent, Refusal> {
    let known = this.peer_role()?.query(look).await?;
    let known = known.ok_or_else(|| Refusal::new(Reason::UnknownTorrent, "no such torrent"))?;
    this.message(&known).await
}

fn known(session: &Session, id: TorrentId) -> Option<Known> {
    let view = session.torrent(id).map(|view| Known::Torrent(Box::new(view)));
    view.or_else(|| session.quest(id).map(Known::Quest))
}

async fn change(
    this: &Context,
    selector: String,
    command: impl FnOnce(TorrentId) -> Command,
) -> Result<api::Torrent, Refusal> {
    let id = this.torrent(selector).await?.id;
    this.command(command(id)).await?;
    described(this, id).await
}

async fn list(
    this: &Context,
    request: api::ListTorrentsRequest,
) -> Result<api::ListTorrentsResponse, Refusal> {
    let session = this.peer_role()?;
    let size = page::size(request.page_size)?;
    // A place is the last hash and name of the page before: torrents come and go in between.
    let after = match TORRENTS.place(&request.page_token)? {
        None => None,
        Some(place) => {
            let (hash, name) = place.split_once(' ').ok_or_else(|| TORRENTS.bad_token())?;
            Some((name.to_owned(), hash.parse().map_err(|_| TORRENTS.bad_token())?))
        }
    };
    let all = session.query(Known::all).await?;
    let is_later = |known: &Known| match &after {
        Some((name, hash)) => known.key() > (name.as_str(), *hash),
        None => true,
    };
    let mut rest = all.into_iter().filter(is_later);
    let page: Vec<_> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();
    let mut fitting = this.messages(&page).await?.into_iter().peekable();
    let torrents = page::fill(&mut fitting, size, page::LIST_LEN_MAX);
    let next_page_token = match torrents.last() {
        Some(last) if more || fitting.peek().is_some() => {
            TORRENTS.token(&format!("{} {}", last.info_hash, last.name))
        }
        Some(_) | None => String::new(),
    };
    Ok(api::ListTorrentsResponse { torrents, next_page_token })
}

async fn get(
    this: &Context,
    request: api::GetTorrentRequest,
) -> Result<api::GetTorrentResponse, Refusal> {
    let (size, offset) = (page::size(request.page_size)?, FILES.offset(&request.page_token)?);
    let view = match this.find(request.torrent).await? {
        Known::Torrent(view) => view,
        Known::Quest(view) => {
            return Ok(api::GetTorrentResponse {
                torrent: Some(quest(&view)),
                trackers: tiers(&view.trackers),
                ..api::GetTorrentResponse::default()
            });
        }
    };
    let id = view.id;
    let have = this.peer_role()?.query(move |session| session.have(id).cloned()).await?;
    let place = this.peer_role()?.torrent_place(view.id).await?;
    let metainfo = &view.metainfo;
    let have = have.unwrap_or_else(|| Bitfield::new(metainfo.piece_count() as usize));
    let merged = |index: usize| {
        place.as_ref().and_then(|place| place.merged.get(index)).copied().unwrap_or(false)
    };
    let files = regular_files(metainfo);
    let files = files.map(|index| file(&view, &have, index, merged(index)));
    let (files, next_page_token) = FILES.page(files, offset, size);
    let location = place.as_ref().map(|place| place.location.display().to_string());
    Ok(api::GetTorrentResponse {
        torrent: Some(torrent(&view, location.unwrap_or_default())),
        files,
        trackers: tiers(&metainfo.trackers),
        comment: metainfo.comment.clone().unwrap_or_default(),
        created_by: metainfo.created_by.clone().unwrap_or_default(),
        next_page_token,
        web_seeds: view.web_seeds.iter().map(web_seed).collect(),
    })
}

async fn verify(
    this: &Context,
    selector: String,
) -> Result<Replies<api::VerifyTorrentResponse>, Refusal> {
    let id = this.torrent(selector).await?.id;
    let (job, _) = job_of(&this.command(Command::Verify(id)).await?)?;
    let (session, context) = (this.peer_role()?.clone(), this.clone());
    let each = |view: &shoal_core::session::view::JobView| api::VerifyTorrentResponse {
        progress: Some(progress(view)),
        ..api::VerifyTorrentResponse::default()
    };
    Ok(follow(this, session, job, each, async move |ended| {
        Ok(api::VerifyTorrentResponse {
            bad_chunks: ended.done.bad_pieces,
            torrent: Some(described(&context, id).await?),
            ..each(&ended.view)
        })
    }))
}

async fn add(
    this: &Context,
    via: Via,
    request: api::AddTorrentRequest,
) -> Result<api::AddTorrentResponse, Refusal> {
    use api::add_torrent_request::Source;
    let session = this.peer_role()?;
    let roots = this.roots.clone();
    let peers = given_peers(request.peers)?;
    let globs = wanted::globs_of_addition(&request.files, &request.seed_path)?;
    let metainfo = match request.source {
        None => {
            let fault = "is missing: metainfo, metainfo_path or magnet";
            return Err(Refusal::field("source", fault));
        }
        Some(Source::Magnet(_)) if !request.seed_path.is_empty() => {
            return Err(Refusal::field("seed_path", "needs a metainfo file, not a magnet link"));
        }
        Some(Source::Magnet(link)) => {
            let mut magnet = Magnet::parse(&link)?;
            magnet.peers.extend(peers);
            let hash = magnet.info_hash;
            let added = session.add_magnet(AddMagnet { magnet, files: request.files }).await?;
            let torrent = sought(this, added.id, hash).await?;
            return Ok(api::AddTorrentResponse { torrent: Some(torrent), already: added.already });
        }
        Some(Source::Metainfo(bytes)) if bytes.len() as u64 > METAINFO_LEN_MAX => {
            return Err(MetainfoError::TooLarge(bytes.len() as u64).into());
        }
        Some(Source::Metainfo(bytes)) => bytes,
        Some(Source::MetainfoPath(path)) => {
            let roots = roots.clone();
            blocking(move || read_metainfo(&roots, &path, via)).await?
        }
    };
    let source = match request.seed_path {
        path if path.is_empty() => globs.map_or(AddSource::Download, AddSource::Chosen),
        path => AddSource::Seed(blocking(move || roots.resolve("seed_path", &path, via)).await?),
    };
    let added = session.add_torrent(AddTorrent { metainfo, source }).await?;
    if !peers.is_empty() {
        this.command(Command::LearnPeers(added.id, peers)).await?;
    }
    let torrent = described(this, added.id).await?;
    Ok(api::AddTorrentResponse { torrent: Some(torrent), already: added.already })
}

fn given_peers(peers: Vec<api::PeerAddress>) -> Result<Vec<SocketAddr>, Refusal> {
    if peers.len() > GIVEN_PEERS_MAX {
        let fault = format!("{} addresses, above {GIVEN_PEERS_MAX}", peers.len());
        return Err(Refusal::field("peers", fault));
    }
    peers.into_iter().map(|peer| field::peer(Some(peer))).collect()
}

fn read_metainfo(roots: &ShareRoots, path: &str, via: Via) -> Result<Vec<u8>, Refusal> {
    let real = roots.resolve("metainfo_path", path, via)?;
    let bad = |cause: String| {
        Refusal::new(Reason::BadPath, format!("metainfo_path: {path}: {cause}"))
            .with("path", path)
            .with("cause", cause)
    };
    let found = fs::metadata(&real).map_err(|error| bad(error.to_string()))?;
    if !found.is_file() {
        return Err(bad("is no regular file".to_owned()));
    }
    let (mut bytes, limit) = (Vec::new(), METAINFO_LEN_MAX + 1);
    let read = fs::File::open(&real).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > METAINFO_LEN_MAX {
        return Err(MetainfoError::TooLarge(found.len()).into());
    }
    Ok(bytes)
}

/// Work that touches the disk, off the runtime's threads.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Refusal> + Send + 'static,
) -> Result<R, Refusal> {
    let lost = |error| Err(Refusal::internal(format!("the disk work was lost: {error}")));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(lost)
}

impl From<AddError> for Refusal {
    fn from(error: AddError) -> Self {
        let message = error.to_string();
        match error {
            AddError::Metainfo(error) => error.into(),
            AddError::Files(error) => error.into(),
            AddError::Seed { path, cause } => Self::new(Reason::BadPath, message)
                .with("path", path.display())
                .with("cause", cause),
            AddError::Disk(cause) => Self::new(Reason::DiskError, message).with("cause", cause),
            AddError::Command(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metainfo_path_is_a_regular_file_of_bounded_length() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.torrent");
        fs::write(&file, "d4:infodee").unwrap();
        let roots = ShareRoots::default();
        let read = |path: &std::path::Path| {
            read_metainfo(&roots, path.to_str().unwrap(), Via::Owner).map_err(|r| r.reason.name())
        };
        assert_eq!(read(&file).unwrap(), b"d4:infodee");
        assert_eq!(read(dir.path()), Err("BAD_PATH"));
        let large = dir.path().join("large");
        fs::File::create(&large).unwrap().set_len(METAINFO_LEN_MAX + 1).unwrap();
        assert_eq!(read(&large), Err("BAD_METAINFO"));
    }
}
