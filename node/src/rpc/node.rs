//! `NodeService` and `JobService`: the node itself and its jobs. Events are in [`super::events`].

use shoal::v1::{self as api, job_service_server::JobService, node_service_server::NodeService};
use shoal_core::{
    ids::JobId,
    session::{
        Session,
        command::{Command, CommandError},
    },
};
use tonic::{Request, Response, Status};

use super::{
    context::{Context, owned},
    message::{count, job, labels, millis, timestamp},
    page::{self, List},
    settings,
    status::Refusal,
};
use crate::policy_host::Scope;

type Reply<M> = Result<Response<M>, Status>;

const JOBS: List = List("jobs");

#[tonic::async_trait]
impl NodeService for Context {
    type WatchEventsStream = tokio_stream::Empty<Result<api::WatchEventsResponse, Status>>;

    async fn get_info(
        &self,
        _request: Request<api::GetInfoRequest>,
    ) -> Reply<api::GetInfoResponse> {
        let mut info = api::GetInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            announce_url: self.announce_url.clone().unwrap_or_default(),
            udp_announce_url: self.udp_announce_url().unwrap_or_default(),
            control_addresses: self.control.clone(),
            started_at: Some(timestamp(self.started_at)),
            uptime_ms: millis(self.started.elapsed()),
            pid: std::process::id(),
            epoch: self.events.epoch().to_owned(),
            state_dir: self.state_dir.display().to_string(),
            ..api::GetInfoResponse::default()
        };
        if let Some(tracker) = &self.tracker {
            info.roles.push(api::Role::Tracker.into());
            info.tracker_address = tracker.local_addr().to_string();
        }
        if let Some(session) = &self.session {
            let (facts, totals) = (session.facts(), session.node_totals().await);
            let totals = totals.map_err(Refusal::from)?;
            info.roles.push(api::Role::Peer.into());
            info.peer_id = facts.peer_id.to_string();
            info.local_discovery = facts.local_discovery;
            info.peer_address = facts.listen_addr.to_string();
            info.torrents = count(totals.torrents);
            info.connections = count(totals.connections);
            info.jobs = count(totals.jobs_running);
            info.policy = session.policy_status(Scope::Node).name;
            info.downloads_dir = facts.downloads_dir.display().to_string();
            info.labels = labels(&totals.labels);
            info.download_bps = totals.download_bps;
            info.upload_bps = totals.upload_bps;
        }
        Ok(Response::new(info))
    }

    /// Never called: [`super::events`] stands before the generated server.
    async fn watch_events(
        &self,
        _request: Request<api::WatchEventsRequest>,
    ) -> Reply<Self::WatchEventsStream> {
        Err(Refusal::internal("WatchEvents is not routed to its service").into())
    }

    async fn get_settings(
        &self,
        request: Request<api::GetSettingsRequest>,
    ) -> Reply<api::GetSettingsResponse> {
        Ok(Response::new(settings::get(self, request.into_inner()).await?))
    }

    async fn update_settings(
        &self,
        request: Request<api::UpdateSettingsRequest>,
    ) -> Reply<api::UpdateSettingsResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { settings::update(&this, request).await.map(Response::new) }).await
    }

    async fn shutdown(
        &self,
        _request: Request<api::ShutdownRequest>,
    ) -> Reply<api::ShutdownResponse> {
        tracing::info!("shutdown was asked for by a call");
        self.shutdown.cancel();
        Ok(Response::new(api::ShutdownResponse {}))
    }
}

#[tonic::async_trait]
impl JobService for Context {
    async fn list_jobs(
        &self,
        request: Request<api::ListJobsRequest>,
    ) -> Reply<api::ListJobsResponse> {
        let request = request.into_inner();
        let session = self.peer_role()?;
        let (size, offset) = (page::size(request.page_size)?, JOBS.offset(&request.page_token)?);
        let jobs = session.query(Session::jobs).await.map_err(Refusal::from)?;
        let now = session.facts().clock.now();
        let (jobs, next_page_token) =
            JOBS.page(jobs.iter().map(|view| job(view, now)), offset, size);
        Ok(Response::new(api::ListJobsResponse { jobs, next_page_token }))
    }

    async fn cancel_job(
        &self,
        request: Request<api::CancelJobRequest>,
    ) -> Reply<api::CancelJobResponse> {
        let (this, id) = (self.clone(), JobId(request.into_inner().job_id));
        owned(async move {
            this.command(Command::CancelJob(id)).await?;
            let session = this.peer_role()?;
            let view = session.query(move |session| session.job(id)).await?;
            let view = view.ok_or(CommandError::UnknownJob(id))?;
            let now = session.facts().clock.now();
            Ok(Response::new(api::CancelJobResponse { job: Some(job(&view, now)) }))
        })
        .await
    }
}
