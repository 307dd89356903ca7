//! `PeerService`: the seventeen commands of the specification.

use shoal::v1::{self as api, peer_service_server::PeerService};
use shoal_core::session::command::{Command, Done};
use tonic::{Request, Response, Status};

use super::{
    context::{Context, owned},
    field::{address, chunk, peer, sentence},
    follow::{Replies, follow, job_of, unexpected},
    look,
    message::{micros, millis, progress, served_by},
    status::Refusal,
};

type Reply<M> = Result<Response<M>, Status>;

#[tonic::async_trait]
impl PeerService for Context {
    type RequestDownloadStream = Replies<api::RequestDownloadResponse>;
    type AutoDownloadStream = Replies<api::AutoDownloadResponse>;

    async fn connect_tracker(
        &self,
        request: Request<api::ConnectTrackerRequest>,
    ) -> Reply<api::ConnectTrackerResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { connect_tracker(&this, request).await.map(Response::new) }).await
    }

    async fn get_peer_set(
        &self,
        request: Request<api::GetPeerSetRequest>,
    ) -> Reply<api::GetPeerSetResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { get_peer_set(&this, request).await.map(Response::new) }).await
    }

    async fn update_status_to_tracker(
        &self,
        request: Request<api::UpdateStatusToTrackerRequest>,
    ) -> Reply<api::UpdateStatusToTrackerResponse> {
        let (this, selector) = (self.clone(), request.into_inner().torrent);
        owned(async move {
            let torrent = this.torrent(selector).await?.id;
            this.command(Command::UpdateStatus(torrent)).await?;
            let own = this.self_addr(torrent).await?;
            let message = format!("Tracker updated {} status", sentence(own));
            let own = Some(address(own));
            Ok(Response::new(api::UpdateStatusToTrackerResponse { message, self_: own }))
        })
        .await
    }

    async fn disconnect_tracker(
        &self,
        request: Request<api::DisconnectTrackerRequest>,
    ) -> Reply<api::DisconnectTrackerResponse> {
        let (this, selector) = (self.clone(), request.into_inner().torrent);
        owned(async move {
            let (torrent, own) = this.torrent_and_self(selector).await?;
            this.command(Command::DisconnectTracker(torrent.id)).await?;
            let message = format!("{} disconnected from tracker", sentence(own));
            let own = Some(address(own));
            Ok(Response::new(api::DisconnectTrackerResponse { message, self_: own }))
        })
        .await
    }

    async fn quit_torrent(
        &self,
        request: Request<api::QuitTorrentRequest>,
    ) -> Reply<api::QuitTorrentResponse> {
        let (this, selector) = (self.clone(), request.into_inner().torrent);
        owned(async move {
            let (torrent, own) = this.torrent_and_self(selector).await?;
            let done = this.command(Command::Quit(torrent.id)).await?;
            let Done::Quit { closed } = done else { return Err(unexpected(&done)) };
            Ok(Response::new(api::QuitTorrentResponse {
                message: format!("{} quit torrent", sentence(own)),
                self_: Some(address(own)),
                closed_connections: super::message::count(closed),
            }))
        })
        .await
    }

    async fn connect_peer(
        &self,
        request: Request<api::ConnectPeerRequest>,
    ) -> Reply<api::ConnectPeerResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { connect_peer(&this, request).await.map(Response::new) }).await
    }

    async fn ping(&self, request: Request<api::PingRequest>) -> Reply<api::PingResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { ping(&this, request).await.map(Response::new) }).await
    }

    async fn request_download(
        &self,
        request: Request<api::RequestDownloadRequest>,
    ) -> Reply<Self::RequestDownloadStream> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { request_download(&this, request).await.map(Response::new) }).await
    }

    async fn disconnect_peer(
        &self,
        request: Request<api::DisconnectPeerRequest>,
    ) -> Reply<api::DisconnectPeerResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move {
            let target = peer(request.peer)?;
            let (torrent, own) = this.torrent_and_self(request.torrent).await?;
            this.command(Command::DisconnectPeer(torrent.id, target)).await?;
            let message = format!("{} disconnected from {}", sentence(target), sentence(own));
            Ok(Response::new(api::DisconnectPeerResponse { message }))
        })
        .await
    }

    async fn check_tracker_connected(
        &self,
        request: Request<api::CheckTrackerConnectedRequest>,
    ) -> Reply<api::CheckTrackerConnectedResponse> {
        Ok(Response::new(look::tracker(self, request.into_inner()).await?))
    }

    async fn check_target_peer_connected(
        &self,
        request: Request<api::CheckTargetPeerConnectedRequest>,
    ) -> Reply<api::CheckTargetPeerConnectedResponse> {
        Ok(Response::new(look::target_peer(self, request.into_inner()).await?))
    }

    async fn see_this_peer_info(
        &self,
        request: Request<api::SeeThisPeerInfoRequest>,
    ) -> Reply<api::SeeThisPeerInfoResponse> {
        Ok(Response::new(look::this_peer(self, request.into_inner()).await?))
    }

    async fn see_peer_set(
        &self,
        request: Request<api::SeePeerSetRequest>,
    ) -> Reply<api::SeePeerSetResponse> {
        let request = request.into_inner();
        let asked = look::PeerSetAsked {
            torrent: request.torrent,
            with_bitfields: request.with_bitfields,
            page_size: request.page_size,
            page_token: request.page_token,
        };
        let (set, next_page_token) = look::peer_set(self, asked).await?;
        Ok(Response::new(api::SeePeerSetResponse { set: Some(set), next_page_token }))
    }

    async fn see_connected(
        &self,
        request: Request<api::SeeConnectedRequest>,
    ) -> Reply<api::SeeConnectedResponse> {
        Ok(Response::new(look::connected(self, request.into_inner()).await?))
    }

    async fn see_chunk_status(
        &self,
        request: Request<api::SeeChunkStatusRequest>,
    ) -> Reply<api::SeeChunkStatusResponse> {
        Ok(Response::new(look::chunk_status(self, request.into_inner()).await?))
    }

    async fn merge_chunks(
        &self,
        request: Request<api::MergeChunksRequest>,
    ) -> Reply<api::MergeChunksResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { merge_chunks(&this, request).await.map(Response::new) }).await
    }

    async fn auto_download(
        &self,
        request: Request<api::AutoDownloadRequest>,
    ) -> Reply<Self::AutoDownloadStream> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { auto_download(&this, request).await.map(Response::new) }).await
    }
}

async fn connect_tracker(
    this: &Context,
    request: api::ConnectTrackerRequest,
) -> Result<api::ConnectTrackerResponse, Refusal> {
    let torrent = this.torrent(request.torrent).await?.id;
    let done = this.command(Command::ConnectTracker(torrent)).await?;
    let Done::Announced { url, peers, interval_ms, shoal } = done else {
        return Err(unexpected(&done));
    };
    let own = this.self_addr(torrent).await?;
    Ok(api::ConnectTrackerResponse {
        message: format!("Tracker established connection to {}", sentence(own)),
        self_: Some(address(own)),
        tracker_url: url,
        peers: super::message::count(peers),
        interval_ms,
        keeps_chunk_status: shoal,
    })
}

/// The first page asks the tracker; further ones are of what it answered.
async fn get_peer_set(
    this: &Context,
    request: api::GetPeerSetRequest,
) -> Result<api::GetPeerSetResponse, Refusal> {
    let asked = look::PeerSetAsked {
        torrent: request.torrent,
        with_bitfields: request.with_bitfields,
        page_size: request.page_size,
        page_token: request.page_token,
    };
    asked.check()?;
    if asked.page_token.is_empty() {
        let torrent = this.torrent(asked.torrent.clone()).await?;
        this.command(Command::GetPeerSet(torrent.id)).await?;
    }
    let (set, next_page_token) = look::peer_set(this, asked).await?;
    Ok(api::GetPeerSetResponse { set: Some(set), next_page_token })
}

async fn connect_peer(
    this: &Context,
    request: api::ConnectPeerRequest,
) -> Result<api::ConnectPeerResponse, Refusal> {
    let target = peer(request.peer)?;
    let (torrent, own) = this.torrent_and_self(request.torrent).await?;
    let done = this.command(Command::ConnectPeer(torrent.id, target)).await?;
    let Done::Connected { peer_id, client, pieces_have, extended, shoal, already } = done else {
        return Err(unexpected(&done));
    };
    let extensions = [(extended, "extended"), (shoal, "shoal")];
    let spoken = extensions.into_iter().filter(|(speaks, _)| *speaks);
    Ok(api::ConnectPeerResponse {
        message: format!("{} established connection to {}", sentence(target), sentence(own)),
        peer_id: peer_id.to_string(),
        client,
        chunks_have: super::message::count(pieces_have),
        extensions: spoken.map(|(_, name)| name.to_owned()).collect(),
        already,
    })
}

async fn ping(this: &Context, request: api::PingRequest) -> Result<api::PingResponse, Refusal> {
    let target = peer(request.peer)?;
    let (torrent, own) = this.torrent_and_self(request.torrent).await?;
    let done = this.command(Command::Ping(torrent.id, target)).await?;
    let Done::Pong { round_trip_us, last_message_age_ms, request_latency_us } = done else {
        return Err(unexpected(&done));
    };
    Ok(api::PingResponse {
        message: format!("{} received ping from {}", sentence(target), sentence(own)),
        round_trip_us,
        last_message_age_ms,
        request_latency_us,
        foreign: round_trip_us.is_none(),
    })
}

async fn request_download(
    this: &Context,
    request: api::RequestDownloadRequest,
) -> Result<Replies<api::RequestDownloadResponse>, Refusal> {
    let target = peer(request.peer)?;
    let torrent = this.torrent(request.torrent).await?;
    let piece = chunk(&torrent.metainfo, &request.chunk)?;
    let command = Command::RequestDownload(torrent.id, target, piece);
    let (job, _) = job_of(&this.command(command).await?)?;
    let session = this.peer_role()?.clone();
    let base = move |view: &shoal_core::session::view::JobView| api::RequestDownloadResponse {
        progress: Some(progress(view)),
        index: piece.0,
        ..api::RequestDownloadResponse::default()
    };
    Ok(follow(this, session, job, base, async move |ended| {
        Ok(api::RequestDownloadResponse {
            verified: true,
            bytes: ended.done.bytes,
            elapsed_us: micros(ended.at.since(ended.view.began)),
            already: ended.done.already,
            message: "File received successfully!".to_owned(),
            ..base(&ended.view)
        })
    }))
}

async fn merge_chunks(
    this: &Context,
    request: api::MergeChunksRequest,
) -> Result<api::MergeChunksResponse, Refusal> {
    let torrent = this.torrent(request.torrent).await?;
    let files = match request.file.as_str() {
        "" => torrent.selection.regular(&torrent.metainfo).collect(),
        path => vec![torrent.metainfo.find_file(path)?],
    };
    let done = this.command(Command::Merge(torrent.id, files)).await?;
    let Done::Merged(merged) = done else { return Err(unexpected(&done)) };
    Ok(api::MergeChunksResponse {
        message: "Merge complete!".to_owned(),
        paths: super::page::names(merged.paths.into_iter(), usize::MAX, super::page::LIST_LEN_MAX),
        already: merged.already,
    })
}

async fn auto_download(
    this: &Context,
    request: api::AutoDownloadRequest,
) -> Result<Replies<api::AutoDownloadResponse>, Refusal> {
    let torrent = this.torrent(request.torrent).await?.id;
    let available_only = request.available_only;
    let command = Command::AutoDownload { torrent, available_only, patient: false };
    let (job, joined) = job_of(&this.command(command).await?)?;
    let session = this.peer_role()?.clone();
    let base = move |view: &shoal_core::session::view::JobView| api::AutoDownloadResponse {
        job_id: view.id.0,
        progress: Some(progress(view)),
        joined,
        waiting_for: view.waiting_for.clone(),
        ..api::AutoDownloadResponse::default()
    };
    Ok(follow(this, session, job, base, async move |ended| {
        let paths = ended.done.paths.into_iter();
        Ok(api::AutoDownloadResponse {
            complete: true,
            paths: super::page::names(paths, usize::MAX, super::page::LIST_LEN_MAX),
            served_by: served_by(&ended.done.served_by),
            message: "Merge complete!".to_owned(),
            elapsed_ms: millis(ended.at.since(ended.view.began)),
            wasted_bytes: ended.done.wasted,
            ..base(&ended.view)
        })
    }))
}
