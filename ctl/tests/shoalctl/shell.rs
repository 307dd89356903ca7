//! `shoalctl shell` fed from standard input.

use shoal_ctl::Exit;

use crate::fake::{Node, run};

#[tokio::test]
async fn commands_are_taken_in_the_specifications_spelling() {
    let node = Node::start().await;
    let input = "/connect_tracker\n\n# a comment\nupdate-status-to-tracker\r\n\
                 /request_download 10.0.0.2 7000 'film 1.webm.part3'\n/merge_chunks film.webm";
    let ran = run(&node.unix, &["shell"], input).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""), "{ran:?}");
    let sentences: Vec<&str> = ran.out.lines().collect();
    assert_eq!(sentences[0], "Tracker established connection to Peer[10.0.0.1,7000]");
    assert_eq!(sentences[1], "Tracker updated Peer[10.0.0.1,7000] status");
    assert_eq!(sentences[2], "File received successfully!");
    assert_eq!(sentences[4], "Merge complete!");
    assert!(node.seen.all()[2].contains("chunk: \"film 1.webm.part3\""));
}

#[tokio::test]
async fn a_failed_command_is_told_and_the_rest_carried_out() {
    let node = Node::start().await;
    let input = "ping 10.0.0.2 7000 --torrent near\npng\nquit_torrent --torrent code:7\n\
                 'open\nconnect_tracker\n";
    let ran = run(&node.unix, &["shell"], input).await;
    assert_eq!(ran.exit, Exit::Usage, "the last failure is the open quotation: {ran:?}");
    assert!(ran.out.ends_with("Tracker established connection to Peer[10.0.0.1,7000]\n"));
    assert!(ran.err.contains("did you mean 'film'?") && ran.err.contains("as asked"));
    let ran = run(&node.unix, &["shell"], "quit_torrent --torrent code:7\nconnect_tracker\n").await;
    assert_eq!(ran.exit, Exit::NotAllowed);
}

#[tokio::test]
async fn nothing_is_carried_out_behind_exit() {
    let node = Node::start().await;
    let ran = run(&node.unix, &["shell"], "exit\nquit_torrent\n").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""));
    assert!(node.seen.all().is_empty());
}

#[tokio::test]
async fn the_shells_torrent_and_format_hold_where_a_line_says_nothing() {
    let node = Node::start().await;
    let input = "pause_nothing\nquit_torrent\nquit_torrent --torrent other -o table\nhelp ping\n";
    let ran = run(&node.unix, &["-o", "json", "shell", "--torrent", "film"], input).await;
    assert!(ran.out.starts_with("{\n"), "{}", ran.out);
    assert!(ran.out.contains("\nPeer[10.0.0.1,7000] quit torrent\n"), "{}", ran.out);
    assert!(ran.err.starts_with("{\"code\":\"INVALID_ARGUMENT\""), "{}", ran.err);
    let seen = node.seen.all();
    assert!(seen[0].contains("\"film\"") && seen[1].contains("\"other\""), "{seen:?}");
}

#[tokio::test]
async fn a_shell_starts_no_shell_and_stays_with_its_node() {
    let node = Node::start().await;
    for line in ["shell\n", "node info --endpoint unix:///x\n", "node info --context x\n"] {
        let ran = run(&node.unix, &["shell"], line).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{line}");
    }
    assert!(node.seen.all().is_empty());
}

#[tokio::test]
async fn commands_that_need_no_node_work_in_a_shell() {
    let node = Node::start().await;
    let input = "completions fish\nman\ncontext list\ndescribe GetInfo\ncall GetInfo\n";
    let ran = run(&node.unix, &["shell"], input).await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    for part in
        ["complete --keep-order", ".TH shoalctl 1", "there is no context", "rpc NodeService"]
    {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
}
