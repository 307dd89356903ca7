//! The connections to peers and web seeds, by id and by place, with a note of those that may have
//! changed since somebody looked. Never here: what follows from a change.

use std::{collections::BTreeMap, ops::Index};

use crate::{ids::ConnId, peer::Conn};

/// Connections, each at a place that is its own while it lasts: a place is found without a search.
///
/// Invariants: `places` names exactly the places in use; `changed` holds every place whose
/// connection is marked.
#[derive(Debug, Default)]
pub(super) struct Conns {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    places: BTreeMap<ConnId, usize>,
    changed: Vec<usize>,
}

#[derive(Debug)]
struct Slot {
    conn: Conn,
    changed: bool,
}

impl Conns {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn contains_key(&self, conn: &ConnId) -> bool {
        self.places.contains_key(conn)
    }

    pub(super) fn place(&self, conn: &ConnId) -> Option<usize> {
        self.places.get(conn).copied()
    }

    pub(super) fn get(&self, conn: &ConnId) -> Option<&Conn> {
        self.at(self.place(conn)?)
    }

    /// The connection at a place.
    pub(super) fn at(&self, place: usize) -> Option<&Conn> {
        self.slots.get(place)?.as_ref().map(|slot| &slot.conn)
    }

    /// A connection that is about to change.
    pub(super) fn get_mut(&mut self, conn: &ConnId) -> Option<&mut Conn> {
        let place = self.place(conn)?;
        self.note(place);
        self.at_mut(place)
    }

    /// The connection at a place, to be changed in what nobody who reads [`Self::take_changed`]
    /// cares about.
    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut Conn> {
        self.slots.get_mut(place)?.as_mut().map(|slot| &mut slot.conn)
    }

    /// Notes that the connection at a place changed.
    pub(super) fn note(&mut self, place: usize) {
        let Some(Some(slot)) = self.slots.get_mut(place) else { return };
        if !std::mem::replace(&mut slot.changed, true) {
            self.changed.push(place);
        }
    }

    /// Whether the connection may have changed since it was taken last.
    pub(super) fn is_noted(&self, conn: ConnId) -> bool {
        let slot = self.place(&conn).and_then(|place| self.slots[place].as_ref());
        slot.is_some_and(|slot| slot.changed)
    }

    pub(super) fn insert(&mut self, id: ConnId, conn: Conn) {
        let slot = Some(Slot { conn, changed: false });
        let place = match (self.place(&id), self.free.pop()) {
            (Some(place), free) => {
                self.free.extend(free);
                place
            }
            (None, Some(place)) => place,
            (None, None) => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        self.slots[place] = slot;
        self.places.insert(id, place);
        self.note(place);
    }

    pub(super) fn remove(&mut self, conn: &ConnId) -> Option<Conn> {
        let place = self.places.remove(conn)?;
        self.free.push(place);
        self.slots[place].take().map(|slot| slot.conn)
    }

    /// The place of a connection that may have changed since it was taken last.
    pub(super) fn take_changed(&mut self) -> Option<usize> {
        while let Some(place) = self.changed.pop() {
            // Who was here may be gone, and another one noted in its turn.
            let Some(Some(slot)) = self.slots.get_mut(place) else { continue };
            if std::mem::take(&mut slot.changed) {
                return Some(place);
            }
        }
        None
    }

    /// Connections in order of id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.places.iter().filter_map(|(&id, &place)| Some((id, self.at(place)?)))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &ConnId> {
        self.places.keys()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Conn> {
        self.iter().map(|(_, conn)| conn)
    }
}

impl Index<&ConnId> for Conns {
    type Output = Conn;

    fn index(&self, conn: &ConnId) -> &Conn {
        self.get(conn).expect("the caller names a connection that is there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{PeerId, TorrentId},
        peer::Origin,
        time::Timestamp,
    };

    fn conn(id: u64) -> Conn {
        let addr = ([10, 0, 0, 1], 7000).into();
        let (id, now) = (ConnId(id), Timestamp(1));
        Conn::new(id, TorrentId(1), addr, Origin::Incoming, PeerId([1; 20]), 8, now)
    }

    fn changed(conns: &mut Conns) -> Vec<u64> {
        let mut ids = Vec::new();
        while let Some(place) = conns.take_changed() {
            ids.push(conns.at(place).unwrap().id.0);
        }
        ids.sort_unstable();
        ids
    }

    #[test]
    fn whoever_may_have_changed_is_noted_once() {
        let mut conns = Conns::default();
        for id in [5, 3, 4] {
            conns.insert(ConnId(id), conn(id));
        }
        assert_eq!(changed(&mut conns), [3, 4, 5], "who is new");
        assert_eq!(changed(&mut conns), []);
        for id in [4, 4, 9] {
            assert_eq!(conns.get_mut(&ConnId(id)).is_some(), id == 4);
        }
        assert_eq!(changed(&mut conns), [4]);
    }

    #[test]
    fn a_place_is_given_again_without_the_notes_of_who_left() {
        let mut conns = Conns::default();
        conns.insert(ConnId(1), conn(1));
        conns.insert(ConnId(2), conn(2));
        let place = conns.place(&ConnId(1));
        assert_eq!(conns.remove(&ConnId(1)).map(|conn| conn.id), Some(ConnId(1)));
        assert!(conns.get(&ConnId(1)).is_none());
        assert_eq!(changed(&mut conns), [2]);
        conns.insert(ConnId(3), conn(3));
        assert_eq!(conns.place(&ConnId(3)), place);
        assert_eq!(conns.keys().map(|id| id.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((changed(&mut conns), conns.len()), (vec![3], 2));
    }
}
