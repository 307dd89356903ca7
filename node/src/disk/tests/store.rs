//! The state directory and its database.

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use redb::Database;
use shoal_core::ids::{InfoHash, JobId};

use super::sample::Home;
use crate::disk::{Placement, Store, StoreError, TorrentRecord};

fn record() -> TorrentRecord {
    TorrentRecord::new(Placement::Seed { path: PathBuf::from("/data") })
}

#[test]
fn second_node_is_refused_and_told_who_holds_the_directory() {
    let home = Home::new();
    let first = Store::open(&home.state_dir()).unwrap();
    let clone = first.clone();
    drop(first);
    let refused = Store::open(&home.state_dir()).unwrap_err();
    let StoreError::InUse { pid, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(*pid, std::process::id());
    assert!(refused.to_string().contains("in use by process"), "{refused}");
    drop(clone);
    Store::open(&home.state_dir()).unwrap();
}

#[test]
fn state_directory_is_for_its_user_alone() {
    let home = Home::new();
    let _store = Store::open(&home.state_dir()).unwrap();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.state_dir()), 0o700);
    assert_eq!(mode(home.state_dir().join("torrents")), 0o700);
}

#[test]
fn records_survive_and_fields_of_a_later_version_are_kept() {
    let home = Home::new();
    let hash = InfoHash([3; 20]);
    let store = Store::open(&home.state_dir()).unwrap();
    let mut kept = record();
    kept.extra.insert("from_the_future".to_owned(), 7.into());
    store.put_torrent(hash, &kept, b"metainfo").unwrap();
    assert!(store.update_torrent(hash, |record| record.paused = true).unwrap());
    assert!(!store.update_torrent(InfoHash([4; 20]), |_| ()).unwrap());
    store.save_totals(&[(hash, 10, 20), (InfoHash([4; 20]), 1, 1)]).unwrap();
    drop(store);
    let store = Store::open(&home.state_dir()).unwrap();
    kept.paused = true;
    (kept.uploaded_bytes, kept.downloaded_bytes) = (10, 20);
    assert_eq!(store.torrents().unwrap(), [(hash, kept)]);
    assert_eq!(store.metainfo(hash).unwrap().unwrap(), b"metainfo");
    store.remove_torrent(hash).unwrap();
    store.remove_torrent(hash).unwrap();
    assert!(store.torrent(hash).unwrap().is_none());
    assert!(store.metainfo(hash).unwrap().is_none());
}

#[test]
fn jobs_policies_and_the_nodes_own_values_survive() {
    let home = Home::new();
    let store = Store::open(&home.state_dir()).unwrap();
    let seed = store.peer_id_seed().unwrap();
    store.put_job(JobId(300), b"one").unwrap();
    store.put_job(JobId(2), b"two").unwrap();
    store.put_policy("rarest", b"lua").unwrap();
    store.put_node_value("token", b"secret").unwrap();
    drop(store);
    let store = Store::open(&home.state_dir()).unwrap();
    assert_eq!(store.peer_id_seed().unwrap(), seed);
    assert_eq!(store.jobs().unwrap(), [(JobId(2), b"two".to_vec()), (JobId(300), b"one".to_vec())]);
    assert_eq!(store.policies().unwrap(), [("rarest".to_owned(), b"lua".to_vec())]);
    assert_eq!(store.node_value("token").unwrap().unwrap(), b"secret");
    assert!(store.node_value("other").unwrap().is_none());
    store.remove_job(JobId(2)).unwrap();
    store.remove_policy("rarest").unwrap();
    assert_eq!(store.jobs().unwrap().len(), 1);
    assert!(store.policies().unwrap().is_empty());
}

#[test]
fn database_is_opened_again_after_an_io_error() {
    let home = Home::new();
    let opened = Arc::new(AtomicU32::new(0));
    let count = opened.clone();
    let fs = home.fs.clone();
    let store = super::forgetful::open_store(&home.state_dir(), &fs).unwrap();
    store.put_job(JobId(1), b"kept").unwrap();
    fs.cut_after(0);
    assert!(matches!(store.put_job(JobId(2), b"lost"), Err(StoreError::Database { .. })));
    fs.restart(0);
    store.put_job(JobId(3), b"again").unwrap();
    let ids: Vec<_> = store.jobs().unwrap().into_iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [1, 3]);
    drop(store);
    let opener = move |path: &std::path::Path| {
        count.fetch_add(1, Ordering::Relaxed);
        Database::create(path).map_err(redb::Error::from)
    };
    let store = Store::open_with(&home.state_dir(), Box::new(opener)).unwrap();
    store.put_job(JobId(4), b"fine").unwrap();
    assert_eq!(opened.load(Ordering::Relaxed), 1, "no error, no second opening");
}

#[test]
fn foreign_value_in_the_database_is_an_error_that_names_it() {
    let home = Home::new();
    drop(Store::open(&home.state_dir()).unwrap());
    let path = home.state_dir().join("node.redb");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&[u8; 20], &[u8]>::new("torrents");
    transaction.open_table(table).unwrap().insert(&[9; 20], b"{".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Store::open(&home.state_dir()).unwrap().torrents().unwrap_err();
    assert!(error.to_string().contains("torrents of 0909"), "{error}");
}
