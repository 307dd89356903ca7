//! From a command to what it asks of the node and shows. Never here: the command line.

use crate::{
    cli::{
        Command,
        node::{JobsCommand, NodeCommand, TrackerCommand},
        peer::PeerSetArgs,
        torrent::TorrentCommand,
    },
    failure::Failure,
    session::Session,
    top,
};

mod await_job;
mod call;
mod completions;
mod context;
mod create;
pub(crate) mod describe;
mod events;
mod job;
pub(crate) mod local;
pub(crate) mod look;
mod magnet;
mod man;
mod node;
mod peer;
mod policy;
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
        Command::Ping(args) => peer::ping(s, &args.peer).await,
        Command::RequestDownload(args) => Box::pin(transfer::request_download(s, &args)).await,
        Command::DisconnectPeer(args) => peer::disconnect_peer(s, &args).await,
        Command::CheckTrackerConnected(args) => peer::check_tracker(s, &args.target).await,
        Command::CheckTargetPeerConnected(args) => peer::check_peer(s, &args.peer).await,
        Command::SeeThisPeerInfo(args) => look::see_this_peer_info(s, &args).await,
        Command::SeePeerSet(args) => look::see_peer_set(s, &args.set).await,
        Command::SeeConnected(args) => look::see_connected(s, &args).await,
        Command::SeeChunkStatus(args) => look::see_chunk_status(s, &args).await,
        Command::MergeChunks(args) => transfer::merge_chunks(s, &args).await,
        Command::AutoDownload(args) => Box::pin(transfer::auto_download(s, &args)).await,
        Command::Torrent(command) => Box::pin(carry_out_torrent(s, command)).await,
        Command::Jobs(JobsCommand::List(args)) => job::list(s, args.limit).await,
        Command::Jobs(JobsCommand::Wait(args)) => Box::pin(await_job::wait(s, &args)).await,
        Command::Jobs(JobsCommand::Cancel(args)) => job::cancel(s, &args).await,
        Command::Tracker(TrackerCommand::Swarms(args)) => tracker::swarms(s, args.limit).await,
        Command::Tracker(TrackerCommand::Peers(args)) => tracker::peers(s, &args).await,
        Command::Node(NodeCommand::Info(_)) => node::info(s).await,
        Command::Node(NodeCommand::Shutdown(args)) => node::shutdown(s, args).await,
        Command::Settings(command) => settings::carry_out(s, command).await,
        Command::Token(command) => token::carry_out(s, command).await,
        Command::Policy(command) => Box::pin(policy::carry_out(s, command)).await,
        Command::Call(args) => Box::pin(call::call(s, &args)).await,
        Command::Describe(args) => Box::pin(describe::describe(s, &args)).await,
        Command::Events(args) => Box::pin(events::follow(s, &args)).await,
        Command::Top(args) => Box::pin(top::top(s, &args)).await,
        Command::Shell(_) => Err(Failure::usage("a shell cannot be started inside a shell")),
        // `local` has carried these out.
        Command::Completions(_) | Command::Man(_) | Command::Context(_) => Ok(()),
    }
}

async fn carry_out_torrent(s: &mut Session<'_>, command: TorrentCommand) -> Result<(), Failure> {
    match command {
        TorrentCommand::Create(args) => create::create(s, &args).await,
        TorrentCommand::Add(args) => torrent::add(s, &args).await,
        TorrentCommand::List(args) => torrent::list(s, args.limit).await,
        TorrentCommand::Show(args) => torrent::show(s, &args).await,
        TorrentCommand::Select(args) => select::select(s, &args).await,
        TorrentCommand::Verify(args) => torrent::verify(s, &args).await,
        TorrentCommand::Pause(selector) => torrent::pause(s, &selector).await,
        TorrentCommand::Resume(selector) => torrent::resume(s, &selector).await,
        TorrentCommand::Remove(args) => torrent::remove(s, &args).await,
    }
}

/// Most items of a page of peers: those with a bitfield weigh up to 128 KiB each.
const fn peers_page_max(args: &PeerSetArgs) -> u32 {
    if args.with_bitfields { 100 } else { crate::pages::PAGE_SIZE_MAX }
}
