//! The tables of the database and the doors to them.
//!
//! Never here: the have-bitmaps' meaning and the order of syncs, see `commit`.

use std::{io, path::Path};

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};
use shoal_core::ids::{InfoHash, JobId};

use super::{
    record::{MagnetRecord, MergeIntent, PlaceRecord, TorrentRecord},
    store::{Store, StoreError, TORRENTS_DIR},
};

impl Store {
    /// Adds a torrent, its metainfo file first, or replaces its record.
    ///
    /// # Errors
    /// [`StoreError`] where either cannot be written; then the torrent is not added.
    pub fn put_torrent(
        &self,
        info_hash: InfoHash,
        record: &TorrentRecord,
        metainfo: &[u8],
    ) -> Result<(), StoreError> {
        self.write_file(Path::new(&metainfo_file(info_hash)), metainfo)?;
        let value = to_json(record);
        self.write(|transaction| {
            transaction.open_table(TORRENTS)?.insert(&info_hash.0, value.as_slice())?;
            Ok(())
        })
    }

    /// Every torrent, by info hash.
    ///
    /// # Errors
    /// [`StoreError`] where the database fails or a record is none we wrote.
    pub fn torrents(&self) -> Result<Vec<(InfoHash, TorrentRecord)>, StoreError> {
        self.rows_of(TORRENTS, "torrents")
    }

    /// The record of one torrent, `None` where there is none.
    ///
    /// # Errors
    /// As [`Store::torrents`].
    pub fn torrent(&self, info_hash: InfoHash) -> Result<Option<TorrentRecord>, StoreError> {
        let value = self.read(|transaction| {
            let table = transaction.open_table(TORRENTS)?;
            Ok(table.get(&info_hash.0)?.map(|value| value.value().to_vec()))
        })?;
        value.map(|value| self.parse("torrents", &info_hash, &value)).transpose()
    }

    /// Changes the record of a torrent. Returns whether there was one.
    ///
    /// # Errors
    /// As [`Store::torrents`].
    pub fn update_torrent(
        &self,
        info_hash: InfoHash,
        change: impl Fn(&mut TorrentRecord),
    ) -> Result<bool, StoreError> {
        Ok(self.update_torrents(&[(info_hash, change)])? == 1)
    }

    /// Changes the records of these torrents in one transaction. Unknown torrents are passed over.
    /// Returns how many there were.
    ///
    /// # Errors
    /// As [`Store::torrents`].
    pub fn update_torrents<C: Fn(&mut TorrentRecord)>(
        &self,
        changes: &[(InfoHash, C)],
    ) -> Result<usize, StoreError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(TORRENTS)?;
            let mut changed = 0;
            for (hash, change) in changes {
                let Some(value) = table.get(&hash.0)?.map(|value| value.value().to_vec()) else {
                    continue;
                };
                let mut record: TorrentRecord = match self.parse("torrents", hash, &value) {
                    Ok(record) => record,
                    Err(error) => return Ok(Err(error)),
                };
                change(&mut record);
                table.insert(&hash.0, to_json(&record).as_slice())?;
                changed += 1;
            }
            Ok(Ok(changed))
        })?
    }

    /// Saves the lifetime totals of these torrents, `(info hash, uploaded bytes, downloaded
    /// bytes)`, in one transaction. Unknown torrents are passed over.
    ///
    /// # Errors
    /// As [`Store::torrents`].
    pub fn save_totals(&self, totals: &[(InfoHash, u64, u64)]) -> Result<(), StoreError> {
        let changes = totals.iter().map(|&(hash, uploaded, downloaded)| {
            let change = move |record: &mut TorrentRecord| {
                (record.uploaded_bytes, record.downloaded_bytes) = (uploaded, downloaded);
            };
            (hash, change)
        });
        self.update_torrents(&changes.collect::<Vec<_>>()).map(drop)
    }

    /// The metainfo file of a torrent, `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] where it cannot be read.
    pub fn metainfo(&self, info_hash: InfoHash) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.dir().join(metainfo_file(info_hash));
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { path, source }),
        }
    }

    /// Forgets a torrent: its record, have-bits, places and metainfo file. Its data stays, see
    /// [`TorrentStore::remove`](super::TorrentStore::remove). Repeating it is harmless.
    ///
    /// # Errors
    /// [`StoreError`] where the database or the file cannot be changed.
    pub fn remove_torrent(&self, info_hash: InfoHash) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(TORRENTS)?.remove(&info_hash.0)?;
            transaction.open_table(HAVE)?.remove(&info_hash.0)?;
            let (first, last) = (file_key(info_hash, 0), file_key(info_hash, u32::MAX));
            for table in [PLACES, INTENTS] {
                let mut table = transaction.open_table(table)?;
                table.retain_in(first.as_slice()..=last.as_slice(), |_, _| false)?;
            }
            Ok(())
        })?;
        let path = self.dir().join(metainfo_file(info_hash));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Io { path, source: error })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Keeps a magnet link, or replaces what is kept of it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn put_magnet(&self, info_hash: InfoHash, record: &MagnetRecord) -> Result<(), StoreError> {
        let value = to_json(record);
        self.write(|transaction| {
            transaction.open_table(MAGNETS)?.insert(&info_hash.0, value.as_slice())?;
            Ok(())
        })
    }

    /// Every magnet link kept, by info hash.
    ///
    /// # Errors
    /// As [`Store::torrents`].
    pub fn magnets(&self) -> Result<Vec<(InfoHash, MagnetRecord)>, StoreError> {
        self.rows_of(MAGNETS, "magnets")
    }

    /// Forgets a magnet link. Repeating it is harmless.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn remove_magnet(&self, info_hash: InfoHash) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(MAGNETS)?.remove(&info_hash.0)?;
            Ok(())
        })
    }

    /// Keeps a policy's bytes under a name or scope.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn put_policy(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.put_named(POLICIES, name, value)
    }

    /// Every policy kept, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn policies(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(POLICIES)?;
            let rows = table.iter()?.map(|row| {
                let (key, value) = row?;
                Ok((key.value().to_owned(), value.value().to_vec()))
            });
            rows.collect()
        })
    }

    /// Forgets a policy. Repeating it is harmless.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn remove_policy(&self, name: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(POLICIES)?.remove(name)?;
            Ok(())
        })
    }

    /// Keeps a job's bytes.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn put_job(&self, id: JobId, value: &[u8]) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(JOBS)?.insert(id.0, value)?;
            Ok(())
        })
    }

    /// Every job kept, by id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn jobs(&self) -> Result<Vec<(JobId, Vec<u8>)>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(JOBS)?;
            let rows = table.iter()?.map(|row| {
                let (key, value) = row?;
                Ok((JobId(key.value()), value.value().to_vec()))
            });
            rows.collect()
        })
    }

    /// Forgets a job. Repeating it is harmless.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn remove_job(&self, id: JobId) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(JOBS)?.remove(id.0)?;
            Ok(())
        })
    }

    /// Keeps a value of the node itself, such as an access token, under a key.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn put_node_value(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.put_named(NODE, key, value)
    }

    /// A value of the node itself.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn node_value(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(NODE)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// The twelve bytes after the prefix of this node's peer id: drawn at random at the first
    /// call on this state directory, the same ever after.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn peer_id_seed(&self) -> Result<[u8; 12], StoreError> {
        let mut fresh = [0; 12];
        fresh.fill_with(|| fastrand::u8(..));
        self.write(|transaction| {
            let mut table = transaction.open_table(NODE)?;
            let kept = table.get("peer_id_seed")?.and_then(|kept| kept.value().try_into().ok());
            if let Some(kept) = kept {
                return Ok(kept);
            }
            table.insert("peer_id_seed", fresh.as_slice())?;
            Ok(fresh)
        })
    }

    /// The committed have-bitmap of a torrent, as on the wire.
    pub(super) fn have(&self, info_hash: InfoHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|transaction| {
            let table = transaction.open_table(HAVE)?;
            Ok(table.get(&info_hash.0)?.map(|value| value.value().to_vec()))
        })
    }

    /// The recorded places of a torrent's files.
    pub(super) fn places(&self, hash: InfoHash) -> Result<Vec<(usize, PlaceRecord)>, StoreError> {
        self.rows_of_files(PLACES, hash)
    }

    /// The merges of a torrent that were begun.
    pub(super) fn intents(&self, hash: InfoHash) -> Result<Vec<(usize, MergeIntent)>, StoreError> {
        self.rows_of_files(INTENTS, hash)
    }

    /// Commits what changed of a torrent in one durable transaction.
    pub(super) fn commit(&self, hash: InfoHash, changes: &Changes<'_>) -> Result<(), StoreError> {
        self.write(|transaction| {
            if let Some(have) = changes.have {
                transaction.open_table(HAVE)?.insert(&hash.0, have)?;
            }
            let mut places = transaction.open_table(PLACES)?;
            for (file, place) in changes.places {
                put_row(&mut places, hash, *file, place.as_ref())?;
            }
            let mut intents = transaction.open_table(INTENTS)?;
            for (file, intent) in changes.intents {
                put_row(&mut intents, hash, *file, intent.as_ref())?;
            }
            Ok(())
        })
    }

    fn put_named(&self, table: Named, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.open_table(table)?.insert(key, value)?;
            Ok(())
        })
    }

    fn rows_of<T: DeserializeOwned>(
        &self,
        table: ByTorrent,
        name: &'static str,
    ) -> Result<Vec<(InfoHash, T)>, StoreError> {
        let rows = self.read(|transaction| {
            let table = transaction.open_table(table)?;
            let rows = table.iter()?.map(|row| {
                let (key, value) = row?;
                Ok((InfoHash(*key.value()), value.value().to_vec()))
            });
            rows.collect::<Result<Vec<_>, redb::Error>>()
        })?;
        let parse =
            |(hash, value): (InfoHash, Vec<u8>)| Ok((hash, self.parse(name, &hash, &value)?));
        rows.into_iter().map(parse).collect()
    }

    fn rows_of_files<T: DeserializeOwned>(
        &self,
        table: OfFiles,
        hash: InfoHash,
    ) -> Result<Vec<(usize, T)>, StoreError> {
        let rows = self.read(|transaction| {
            let (first, last) = (file_key(hash, 0), file_key(hash, u32::MAX));
            let table = transaction.open_table(table)?;
            let rows = table.range(first.as_slice()..=last.as_slice())?.map(|row| {
                let (key, value) = row?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            });
            rows.collect::<Result<Vec<_>, redb::Error>>()
        })?;
        let parse = |(key, value): (Vec<u8>, Vec<u8>)| {
            let file = key.last_chunk::<4>().map_or(0, |file| u32::from_be_bytes(*file));
            Ok((file as usize, self.parse(TABLE_OF_FILES, &hash, &value)?))
        };
        rows.into_iter().map(parse).collect()
    }

    fn parse<T: DeserializeOwned>(
        &self,
        table: &'static str,
        key: &InfoHash,
        value: &[u8],
    ) -> Result<T, StoreError> {
        serde_json::from_slice(value).map_err(|error| StoreError::Corrupt {
            path: self.database_path().to_path_buf(),
            table,
            key: key.to_string(),
            message: error.to_string(),
        })
    }
}

/// What one transaction changes of a torrent.
#[derive(Default)]
pub(super) struct Changes<'a> {
    /// The whole have-bitmap, as on the wire.
    pub(super) have: Option<&'a [u8]>,
    /// Places by file; `None` removes the record.
    pub(super) places: &'a [(usize, Option<PlaceRecord>)],
    /// Merges begun, by file; `None` removes the record.
    pub(super) intents: &'a [(usize, Option<MergeIntent>)],
}

/// Makes every table, so that reading one never finds it missing.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(TORRENTS)?;
    transaction.open_table(HAVE)?;
    transaction.open_table(MAGNETS)?;
    transaction.open_table(PLACES)?;
    transaction.open_table(INTENTS)?;
    transaction.open_table(POLICIES)?;
    transaction.open_table(JOBS)?;
    transaction.open_table(NODE)?;
    Ok(())
}

fn put_row<T: Serialize>(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    hash: InfoHash,
    file: usize,
    value: Option<&T>,
) -> Result<(), redb::Error> {
    // Files are at most 100 000.
    let key = file_key(hash, u32::try_from(file).unwrap_or(u32::MAX));
    match value {
        Some(value) => table.insert(key.as_slice(), to_json(value).as_slice())?,
        None => table.remove(key.as_slice())?,
    };
    Ok(())
}

/// The key of a file: the torrent's info hash, then the file's index, big-endian to sort by it.
fn file_key(hash: InfoHash, file: u32) -> [u8; 24] {
    let mut key = [0; 24];
    key[..20].copy_from_slice(&hash.0);
    key[20..].copy_from_slice(&file.to_be_bytes());
    key
}

fn metainfo_file(hash: InfoHash) -> String {
    format!("{TORRENTS_DIR}/{hash}.torrent")
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have string keys and no failing serializer")
}

type ByTorrent = TableDefinition<'static, &'static [u8; 20], &'static [u8]>;
type OfFiles = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Named = TableDefinition<'static, &'static str, &'static [u8]>;

const TORRENTS: ByTorrent = TableDefinition::new("torrents");
const MAGNETS: ByTorrent = TableDefinition::new("magnets");
const HAVE: ByTorrent = TableDefinition::new("have");
const PLACES: OfFiles = TableDefinition::new("places");
const INTENTS: OfFiles = TableDefinition::new("merge_intents");
const POLICIES: Named = TableDefinition::new("policies");
const JOBS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("jobs");
const NODE: Named = TableDefinition::new("node");
/// What the tables keyed by file are called in messages.
const TABLE_OF_FILES: &str = "places or merge_intents";
