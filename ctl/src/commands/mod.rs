//! From a command to what it asks of the node and shows. Never here: the command line.

use crate::{
    cli::{
        Command, PeerSetArgs,
        node::{JobsCommand, NodeCommand, TrackerCommand},
        torrent::TorrentCommand,
    },
    failure::Failure,
    session::Session,
};

mod create;
mod events;
mod job;
mod look;
mod magnet;
mod node;
mod peer;
pub(crate) mod policy;
mod select;
mod settings;
mod token;
mod torrent;
mod tracker;
mod transfer;

/// Carries a command out.
pub(crate) async fn carry_out(s: &mut Session<'_>, command: Command) -> Result<(), Failure> {
    match command {
        Command::ConnectTracker(target) => peer::connect_tracker(s, &target).await,
        Command::GetPeerSet(args) => look::get_peer_set(s, &args).await,
        Command::UpdateStatusToTracker(target) => peer::update_status(s, &target).await,
        Command::DisconnectTracker(target) => peer::disconnect_tracker(s, &target).await,
        Command::QuitTorrent(target) => peer::quit_torrent(s, &target).await,
        Command::ConnectPeer(args) => peer::connect_peer(s, &args).await,
        Command::Ping(args) => peer::ping(s, &args).await,
        Command::RequestDownload(args) => Box::pin(transfer::request_download(s, &args)).await,
        Command::DisconnectPeer(args) => peer::disconnect_peer(s, &args).await,
        Command::CheckTrackerConnected(target) => peer::check_tracker(s, &target).await,
        Command::CheckTargetPeerConnected(args) => peer::check_peer(s, &args).await,
        Command::SeeThisPeerInfo(args) => look::see_this_peer_info(s, &args).await,
        Command::SeePeerSet(args) => look::see_peer_set(s, &args).await,
        Command::SeeConnected(args) => look::see_connected(s, &args).await,
        Command::SeeChunkStatus(args) => look::see_chunk_status(s, &args).await,
        Command::MergeChunks(args) => transfer::merge_chunks(s, &args).await,
        Command::AutoDownload(args) => Box::pin(transfer::auto_download(s, &args)).await,
        Command::Torrent(command) => Box::pin(carry_out_torrent(s, command)).await,
        Command::Jobs(JobsCommand::List(limit)) => job::list(s, limit).await,
        Command::Jobs(JobsCommand::Cancel(args)) => job::cancel(s, &args).await,
        Command::Tracker(TrackerCommand::Swarms(limit)) => tracker::swarms(s, limit).await,
        Command::Tracker(TrackerCommand::Peers(args)) => tracker::peers(s, &args).await,
        Command::Node(NodeCommand::Info) => node::info(s).await,
        Command::Node(NodeCommand::Shutdown) => node::shutdown(s).await,
        Command::Settings(command) => settings::carry_out(s, command).await,
        Command::Token(command) => token::carry_out(s, command).await,
        Command::Policy(command) => Box::pin(policy::carry_out(s, command)).await,
        Command::Events(args) => Box::pin(events::follow(s, &args)).await,
        Command::Shell(_) => Err(Failure::usage("a shell cannot be started inside a shell")),
        Command::Completions(_) => {
            Err(Failure::usage("completions are printed outside the shell: shoalctl completions"))
        }
    }
}

async fn carry_out_torrent(s: &mut Session<'_>, command: TorrentCommand) -> Result<(), Failure> {
    match command {
        TorrentCommand::Create(args) => create::create(s, &args).await,
        TorrentCommand::Add(args) => torrent::add(s, &args).await,
        TorrentCommand::List(limit) => torrent::list(s, limit).await,
        TorrentCommand::Show(args) => torrent::show(s, &args).await,
        TorrentCommand::Select(args) => select::select(s, &args).await,
        TorrentCommand::Verify(selector) => torrent::verify(s, &selector).await,
        TorrentCommand::Pause(selector) => torrent::pause(s, &selector).await,
        TorrentCommand::Resume(selector) => torrent::resume(s, &selector).await,
        TorrentCommand::Remove(args) => torrent::remove(s, &args).await,
    }
}

/// Most items of a page of peers: those with a bitfield weigh up to 128 KiB each.
const fn peers_page_max(args: &PeerSetArgs) -> u32 {
    if args.with_bitfields { 100 } else { crate::pages::PAGE_SIZE_MAX }
}
