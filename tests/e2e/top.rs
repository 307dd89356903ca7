//! `shoalctl top`: a frame of a real node, and the terminal given back however it ends.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use shoal::v1;
use shoal_ctl::Exit;
use tokio::process::Child;

use crate::{
    binaries::Program,
    fake::{Conduct, Content, Fake},
    harness::{CHUNK, Host, PATIENCE, Party, sample, until, within},
};

#[tokio::test(flavor = "multi_thread")]
async fn one_frame_shows_a_real_node() {
    let party = Party::new().await;
    let (seeder, metainfo) = party.seeder("file1.webm", &sample(20 * CHUNK as usize, 91)).await;
    let leecher = party.leecher("leecher", &metainfo).await;
    let idle = leecher.ctl(&["top", "--once"]).await.ok();
    for word in ["TORRENTS 1", "file1.webm", "idle", "CHUNKS 0 of 20 had", "no decision yet"] {
        assert!(idle.contains(word), "no {word:?}:\n{idle}");
    }
    assert!(leecher.auto_download().await.unwrap().complete);
    let frame = leecher.ctl(&["top", "--torrent", "file1.webm"]).await.ok();
    let peer = seeder.addr.to_string();
    // Seeds leave each other: who served is named by the decisions.
    for word in ["seeding", "100%", "CHUNKS 20 of 20 had", "DECISIONS", ".part", &peer] {
        assert!(frame.contains(word), "no {word:?}:\n{frame}");
    }
    assert!(frame.lines().count() >= 16);
    assert!(!frame.contains('\x1b'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_a_tracker_says_that_it_has_no_torrents() {
    let party = Party::new().await;
    let frame = party.tracker.ctl(&["top"]).await.ok();
    assert!(frame.contains("TORRENTS 0") && frame.contains("tracker"), "{frame}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_asked_for_are_in_flight() {
    let (content, metainfo) = Content::new("file1.webm", sample(9 * CHUNK as usize, 93), CHUNK);
    let held = Fake::start(1, &content, Conduct::Held);
    let party = Party::new().await;
    let leecher = party.leecher("leecher", &metainfo).await;
    leecher.connect_peer(held.addr).await;
    let _job = leecher.peer().auto_download(v1::AutoDownloadRequest::default()).await.unwrap();
    let asked = v1::SeeChunkStatusRequest { page_size: 2, ..Default::default() };
    let first = until("a chunk in flight", async || {
        let status = leecher.peer().see_chunk_status(asked.clone()).await.unwrap().into_inner();
        (!status.in_flight.is_empty()).then_some(status)
    })
    .await;
    assert!(first.in_flight.is_sorted() && first.in_flight.iter().all(|&index| index < 9));
    let page_token = first.next_page_token;
    let rest = v1::SeeChunkStatusRequest { page_token, ..asked };
    let rest = leecher.peer().see_chunk_status(rest).await.unwrap().into_inner();
    assert!(rest.in_flight.is_empty(), "told again on a later page");
    let frame = leecher.ctl(&["top", "--once"]).await.ok();
    assert!(frame.contains("in flight") && frame.contains("downloading"), "{frame}");
    assert!(frame.contains(&held.addr.to_string()), "{frame}");
}

/// A terminal of 80 × 24 with `shoalctl top` on it.
struct Terminal {
    side: OwnedFd,
    person: File,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    fn open(shoalctl: &Program, party: &Party, node: &Host) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let path = ptsname(&person, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let side = rustix::fs::open(path.as_c_str(), flags, Mode::empty()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&side, size).unwrap();
        let end = || Stdio::from(side.try_clone().unwrap());
        let mut command = shoalctl.command(party.dir.path());
        command.args(["--endpoint", node.endpoint(), "top"]).env("TERM", "xterm-256color");
        let child = command.stdin(end()).stdout(end()).spawn().unwrap();
        let (person, shown) = (File::from(person), Arc::<Mutex<Vec<u8>>>::default());
        let (mut reads, shows) = (person.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(len @ 1..) = reads.read(&mut some) {
                shows.lock().unwrap().extend_from_slice(&some[..len]);
            }
        });
        Self { side, person, shown, child }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until everything of a frame was written.
    async fn waits_for(&self, text: &str) {
        until(text, async || self.shown().contains(text).then_some(())).await;
    }

    /// Lines are edited and keys are shown, as a shell wants it.
    fn is_usual(&self) -> bool {
        let modes = tcgetattr(&self.side).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for the end, and checks that the terminal was given back.
    async fn ends_with(mut self, code: i32) {
        let ended = within(PATIENCE, "end of top", self.child.wait()).await.unwrap();
        assert_eq!(ended.code(), Some(code), "{}", self.shown());
        self.waits_for("\x1b[?1049l").await;
        self.waits_for("\x1b[?25h").await;
        assert!(self.is_usual());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_given_back_by_key_and_by_signal() {
    let Some(shoalctl) = Program::shoalctl() else { return };
    let party = Party::new().await;
    let (seeder, _) = party.seeder("file1.webm", &sample(3 * CHUNK as usize, 92)).await;
    for signalled in [false, true] {
        let mut terminal = Terminal::open(&shoalctl, &party, &seeder);
        terminal.waits_for("file1.webm").await;
        assert!(!terminal.is_usual());
        if signalled {
            let id = Pid::from_raw(terminal.child.id().unwrap() as i32).unwrap();
            rustix::process::kill_process(id, Signal::TERM).unwrap();
            terminal.ends_with(Exit::Interrupted.number().into()).await;
        } else {
            terminal.person.write_all(b"q").unwrap();
            terminal.ends_with(0).await;
        }
    }
}
