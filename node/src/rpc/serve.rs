//! Serving: every listener at once, each behind its gate and those of TCP behind TLS where there is
//! any, on a runtime of its own, so that neither disk nor data path can hold a call. With reflection
//! and health.

use std::{future::Future, io, time::Duration};

use shoal::v1::{
    self as api, auth_service_server::AuthServiceServer, job_service_server::JobServiceServer,
    node_service_server::NodeServiceServer, peer_service_server::PeerServiceServer,
    policy_service_server::PolicyServiceServer, torrent_service_server::TorrentServiceServer,
    tracker_service_server::TrackerServiceServer,
};
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Runtime,
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::layer::util::{Identity as Bare, Stack};

use super::{
    calls::Calls,
    complete::CompleteLayer,
    context::Context,
    events::NodeRoutes,
    gate::{Gate, Way},
    socket::{Bound, SocketFile},
};
use crate::auth::tls::Tls;

/// The longest request, bytes: a metainfo file of 16 MiB and its frame.
pub const REQUEST_LEN_MAX: usize = 17 * 1024 * 1024;
/// Threads that serve calls.
const THREADS: usize = 2;
/// How long calls may take to end at a shutdown.
const GRACE: Duration = Duration::from_secs(3);
/// How often a silent HTTP/2 connection is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long a caller may take to shake hands over TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A control surface that serves. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct Serving {
    /// Gone once it was shut down.
    runtime: Option<Runtime>,
    health: HealthReporter,
    ending: CancellationToken,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    /// Removed with it.
    _sockets: Vec<SocketFile>,
}

/// The runtime of the control surface.
///
/// # Errors
/// Where the system gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(THREADS).thread_name("shoal-rpc").enable_all().build()
}

impl Serving {
    /// Serves `context` on every listener, on those of TCP with `tls` where there is any.
    ///
    /// # Errors
    /// Where a listener cannot be handed to the runtime, or TLS cannot be made of these files.
    pub async fn start(
        runtime: Runtime,
        listeners: Vec<Bound>,
        tls: Option<&Tls>,
        context: Context,
    ) -> io::Result<Self> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status("", ServingStatus::Serving).await;
        health.set_serving::<AuthServiceServer<Context>>().await;
        health.set_serving::<NodeServiceServer<Context>>().await;
        health.set_serving::<JobServiceServer<Context>>().await;
        health.set_serving::<TorrentServiceServer<Context>>().await;
        health.set_serving::<PeerServiceServer<Context>>().await;
        health.set_serving::<PolicyServiceServer<Context>>().await;
        health.set_serving::<TrackerServiceServer<Context>>().await;
        let (ending, calls) = (context.ending.clone(), context.calls.clone());
        let routes = routes(&context)?.add_service(health_service).prepare();
        let (stop, mut servers, mut sockets) = (CancellationToken::new(), Vec::new(), Vec::new());
        for listener in listeners {
            // Sockets register with the runtime that serves them.
            let _guard = runtime.enter();
            let routes = routes.clone();
            let stopped = stop.clone().cancelled_owned();
            servers.push(match listener {
                Bound::Unix(listener, file) => {
                    sockets.push(file);
                    let incoming = UnixListenerStream::new(UnixListener::from_std(listener)?);
                    let server = server(&calls).layer(Gate::new(context.tokens.clone(), Way::Unix));
                    let serve = server.serve_with_incoming_shutdown(routes, incoming, stopped);
                    runtime.spawn(logged(serve))
                }
                Bound::Tcp(listener, addr) => {
                    let incoming = TcpIncoming::from(TcpListener::from_std(listener)?);
                    let incoming = incoming.with_nodelay(Some(true));
                    let way = if addr.ip().is_loopback() { Way::Loopback } else { Way::Beyond };
                    let server = secured(server(&calls), tls)?;
                    let server = server.layer(Gate::new(context.tokens.clone(), way));
                    let serve = server.serve_with_incoming_shutdown(routes, incoming, stopped);
                    runtime.spawn(logged(serve))
                }
            });
        }
        Ok(Self { runtime: Some(runtime), health, ending, stop, servers, _sockets: sockets })
    }

    /// Says that the node ends: health first, then the streams, each with its last revision. Calls
    /// are still answered.
    pub async fn farewell(&self) {
        self.health.set_service_status("", ServingStatus::NotServing).await;
        self.health.set_not_serving::<AuthServiceServer<Context>>().await;
        self.health.set_not_serving::<NodeServiceServer<Context>>().await;
        self.health.set_not_serving::<JobServiceServer<Context>>().await;
        self.health.set_not_serving::<TorrentServiceServer<Context>>().await;
        self.health.set_not_serving::<PeerServiceServer<Context>>().await;
        self.health.set_not_serving::<PolicyServiceServer<Context>>().await;
        self.health.set_not_serving::<TrackerServiceServer<Context>>().await;
        self.ending.cancel();
    }

    /// Stops: no more connections, calls under way are waited for, three seconds at most. Returns
    /// whether all of them ended.
    pub async fn stop(mut self) -> bool {
        self.stop.cancel();
        let all = async {
            for server in self.servers.drain(..) {
                // A server that panicked has ended too.
                let _ = server.await;
            }
        };
        let ended = timeout(GRACE, all).await.is_ok();
        self.end();
        ended
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

fn server(calls: &Calls) -> Server<Stack<CompleteLayer, Stack<Calls, Bare>>> {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        // The first layer, which is the outermost: what another refuses is counted too.
        .layer(calls.clone())
        .layer(CompleteLayer)
}

fn secured<L>(server: Server<L>, tls: Option<&Tls>) -> io::Result<Server<L>> {
    let Some(Tls { cert, key, client_ca }) = tls else { return Ok(server) };
    let config = ServerTlsConfig::new().identity(Identity::from_pem(cert, key)).timeout(HANDSHAKE);
    let config = match client_ca {
        Some(ca) => config.client_ca_root(Certificate::from_pem(ca)),
        None => config,
    };
    server.tls_config(config).map_err(io::Error::other)
}

async fn logged(serve: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serve.await {
        tracing::error!(%error, "a listener of the control surface ended");
    }
}

fn routes(context: &Context) -> io::Result<Routes> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(api::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |error| io::Error::other(format!("the descriptor set is broken: {error}"));
    macro_rules! service {
        ($server:ident) => {
            $server::new(context.clone()).max_decoding_message_size(REQUEST_LEN_MAX)
        };
    }
    Ok(Routes::new(NodeRoutes::new(context.clone()))
        .add_service(service!(AuthServiceServer))
        .add_service(service!(JobServiceServer))
        .add_service(service!(TorrentServiceServer))
        .add_service(service!(PeerServiceServer))
        .add_service(service!(PolicyServiceServer))
        .add_service(service!(TrackerServiceServer))
        .add_service(reflection().build_v1().map_err(broken)?)
        .add_service(reflection().build_v1alpha().map_err(broken)?))
}
