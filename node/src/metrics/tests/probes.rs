//! `/healthz` and `/readyz` through the life of a node, and what is refused.

use super::*;

#[tokio::test]
async fn a_node_that_serves_is_alive_and_ready_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let addr = node.metrics_addr().unwrap();
    let health = get(addr, "/healthz", "").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok process\nok session\n"));
    let ready = get(addr, "/readyz", "").await;
    let expected = "ok serving\nok session\nok state directory\nok disks of torrents\nok tracker\n";
    assert_eq!((ready.status, ready.body.as_str()), (200, expected));
    node.vitals().ending();
    let ready = get(addr, "/readyz", "").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body, "failed serving: the node is shutting down\n");
    assert_eq!(get(addr, "/healthz", "").await.status, 200, "to end in order is no illness");
    let page = get(addr, "/metrics", "").await.body;
    assert!(page.contains("\nshoal_ready 0\n"), "{page}");
    node.shutdown().await;
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_node_that_starts_is_alive_and_not_ready() {
    let vitals = Vitals::default();
    let metrics = Metrics::start(loopback(), vitals).unwrap();
    let addr = metrics.local_addr();
    assert_eq!(get(addr, "/healthz", "").await.status, 200);
    let ready = get(addr, "/readyz", "").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (503, "failed serving: the node is starting\n")
    );
    let page = get(addr, "/metrics", "").await.body;
    assert!(page.contains("shoal_ready 0\n") && page.contains("shoal_build_info{"), "{page}");
    metrics.shutdown().await;
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let addr = node.metrics_addr().unwrap();
    let meters = node.handle().unwrap().meters().clone();
    meters.commit_failed.set(1);
    let ready = get(addr, "/readyz", "").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.contains("failed state directory: the last commit failed"),
        "{}",
        ready.body
    );
    assert_eq!(get(addr, "/healthz", "").await.status, 200, "it lives");
    meters.commit_failed.set(0);
    assert_eq!(get(addr, "/readyz", "").await.status, 200, "it is well again by itself");
    node.shutdown().await;
}

#[tokio::test]
async fn a_loop_that_hangs_is_told_and_does_not_hold_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let addr = node.metrics_addr().unwrap();
    let handle = node.handle().unwrap().clone();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let hangs = tokio::spawn(async move {
        let hang = move |_: &shoal_core::session::Session| {
            let _ = begun.send(());
            let _ = gate.recv();
        };
        handle.query(hang).await
    });
    begins.await.unwrap();
    let page = get(addr, "/metrics", "").await.body;
    assert!(page.contains("\nshoal_session_up 0\n"), "{page}");
    assert!(page.contains("\nshoal_disk_waiting_jobs{"), "what needs no loop is there");
    assert!(!page.contains("\nshoal_torrents{"), "nothing is made up");
    let health = get(addr, "/healthz", "").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.body, "ok process\nfailed session: no answer within 2s\n");
    drop(go);
    hangs.await.unwrap().unwrap();
    assert_eq!(get(addr, "/healthz", "").await.status, 200);
    node.shutdown().await;
}

#[tokio::test]
async fn only_three_paths_are_read_and_nothing_else() {
    let metrics = Metrics::start(loopback(), Vitals::default()).unwrap();
    let addr = metrics.local_addr();
    for path in ["/", "/metrics/", "/healthz/x", "/debug", "/announce"] {
        assert_eq!(get(addr, path, "").await.status, 404, "{path}");
    }
    let post =
        "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let refused = ask(addr, post).await;
    assert_eq!(refused.status, 405);
    assert!(refused.head.contains("allow: get,head"), "{}", refused.head);
    let head = "HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let head = ask(addr, head).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let long = format!("x-long: {}\r\n", "x".repeat(20_000));
    assert_eq!(get(addr, "/healthz", &long).await.status, 431, "the head is bounded");
    metrics.shutdown().await;
}
