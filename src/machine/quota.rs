//! Quotas: how much each object may take, and how many objects a namespace may have.
//!
//! An object takes [`KEY_BYTES`] for each of its keys, and beside that what only the key itself tells: the
//! bytes of a limiter's identifier, or of an entry's JSON. So a count that grows changes no size, and the
//! only checks that measure anything are those that make a cell.
//!
//! The sums of a namespace stand in one row, [`keys::SPACES`], which a batch writes at most once. Quotas are
//! the leader's settings, stored by a command: what is refused is the same on every replica.
//!
//! Invariants:
//! - From [`VERSION_QUOTAS`] on, the objects before [`SpacesRecord::uncounted_from`] are those in the sums.
//!   Ticks move it on until all are: a state of before has objects that nobody has counted.
//! - A refusal changes nothing. What is there stays, can be read, and goes as ever: a full object refuses
//!   what would make it larger, and nothing else.
//! - A sum may be behind while objects are being counted, and a size while an identifier of before is not
//!   measured ([`super::object::Measured`]); never ahead. So nothing is refused that had room.
//! - What is over takes its room until a tick has removed it: a refusal here, and nothing else that the
//!   machine answers, may depend on when ticks run.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::keys;
use super::object::{Measured, NamespaceId, ObjectId, ObjectRecord, ObjectRef, ObjectState};
use super::outcome::{Crowded, Outcome, Refusal};
use super::table::{Overlay, Table, View};
use super::version::{self, VERSION_QUOTAS};
use crate::codec;

/// What a key takes beside its identifier or its entry: the rest of the guide's key (`ratelimit:`, or
/// `log:{timestamp}:{id}`) and of its value. Part of what commands mean: another number is another version.
pub const KEY_BYTES: u64 = 64;

/// Objects are told of as crowded from so many hundredths of their quota on.
pub const CROWDED_PERCENT: u64 = 80;

/// How much a namespace's objects may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of one object.
    pub object_bytes_max: u64,
    /// Objects, if that is bounded.
    pub objects_max: Option<u64>,
    /// The object in which nodes record what is done. It is measured as the others are, and refused
    /// nothing: whoever could fill it could keep operators out.
    pub exempt: Option<ObjectId>,
}

/// The quotas of namespaces; one that is not there has none.
pub type Quotas = BTreeMap<NamespaceId, Quota>;

/// What is stored of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Its quota, if it has one.
    pub quota: Option<Quota>,
    /// Its objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is stored of all namespaces together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpacesRecord {
    /// The objects from this key on are not in the sums yet; `None` once all are.
    pub uncounted_from: Option<Vec<u8>>,
    /// By namespace.
    pub spaces: BTreeMap<NamespaceId, Space>,
}

impl Default for SpacesRecord {
    fn default() -> Self {
        Self { uncounted_from: Some(Vec::new()), spaces: BTreeMap::new() }
    }
}

/// What `view` shows of all namespaces.
///
/// # Errors
/// If the view cannot be read or is damaged.
pub fn spaces(view: &dyn View) -> io::Result<SpacesRecord> {
    let value = view.get(Table::Register, keys::SPACES)?;
    Ok(value.map(|value| codec::decode(&value)).transpose()?.unwrap_or_default())
}

/// Whether objects wait to be counted, by what `view` shows.
pub(super) fn is_counting(view: &dyn View) -> io::Result<bool> {
    Ok(version::load(view)? >= VERSION_QUOTAS && spaces(view)?.uncounted_from.is_some())
}

impl SpacesRecord {
    /// The quotas in force.
    pub fn quotas(&self) -> Quotas {
        let quotas = self.spaces.iter();
        quotas.filter_map(|(namespace, space)| Some((*namespace, space.quota?))).collect()
    }

    /// What is there of a namespace; `None` while objects are being counted.
    pub fn counted(&self, namespace: NamespaceId) -> Option<Space> {
        let space = self.spaces.get(&namespace).copied().unwrap_or_default();
        self.uncounted_from.is_none().then_some(space)
    }

    /// The quota of a namespace, if it has one.
    pub fn quota(&self, namespace: NamespaceId) -> Option<Quota> {
        self.spaces.get(&namespace)?.quota
    }
}

/// The sums in memory, beside their row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spaces {
    record: SpacesRecord,
    /// Whether the log may hold commands of [`VERSION_QUOTAS`].
    is_on: bool,
    /// Whether the row is behind; never between two batches.
    has_changed: bool,
    /// What this batch has found crowded, by object or, for all of a namespace, by no object.
    crowded: BTreeMap<(NamespaceId, Option<ObjectId>), Crowded>,
}

impl Spaces {
    pub(super) fn load(view: &dyn View, version: u8) -> io::Result<Self> {
        let (record, is_on) = (spaces(view)?, version >= VERSION_QUOTAS);
        Ok(Self { record, is_on, has_changed: false, crowded: BTreeMap::new() })
    }

    /// From here on the log may hold commands up to `version`.
    pub(super) fn raised(&mut self, version: u8) {
        self.is_on = version >= VERSION_QUOTAS;
    }

    /// Whether identifiers are measured.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// What is stored of a limiter: the row of before as long as a build of before may have to read it.
    pub(super) fn limiter(&self, measured: Measured) -> ObjectState {
        match self.is_on {
            true => ObjectState::Measured(measured),
            false => ObjectState::Limiter { cells: measured.cells },
        }
    }

    /// Why an object may not take `after` bytes, `before` being what it takes if it is there.
    pub(super) fn refusal(
        &mut self,
        object: &ObjectRef,
        before: Option<u64>,
        after: u64,
    ) -> Option<Refusal> {
        let Space { quota, objects, .. } = *self.record.spaces.get(&object.namespace)?;
        let quota = quota?;
        if quota.exempt == Some(object.id) {
            return None;
        }
        if let Some(most) = quota.objects_max.filter(|most| before.is_none() && objects >= *most) {
            self.tell(object, None, objects, most, true);
            return Some(Refusal::ObjectsFull);
        }
        if after > quota.object_bytes_max {
            self.tell(object, Some(object.id), before.unwrap_or(0), quota.object_bytes_max, true);
            return Some(Refusal::ObjectFull);
        }
        None
    }

    /// An object takes `after` bytes now and took `before`; `None` where it is not there.
    pub(super) fn resize(&mut self, key: &[u8], before: Option<u64>, after: Option<u64>) {
        let is_uncounted = |from: &Vec<u8>| key >= &from[..];
        let Some(namespace) = key.first_chunk().map(|first| NamespaceId(*first)) else { return };
        if before == after || self.record.uncounted_from.as_ref().is_some_and(is_uncounted) {
            return;
        }
        let space = self.record.spaces.entry(namespace).or_default();
        let (is_new, was_there) = (u64::from(after.is_some()), u64::from(before.is_some()));
        space.objects = space.objects.saturating_add(is_new).saturating_sub(was_there);
        let bytes = space.bytes.saturating_add(after.unwrap_or(0));
        space.bytes = bytes.saturating_sub(before.unwrap_or(0));
        self.has_changed = true;
    }

    /// Takes note if an object that has grown to `after` bytes, or its namespace, is crowded now.
    pub(super) fn grown(&mut self, object: &ObjectRef, before: Option<u64>, after: u64) {
        let Some(Space { quota: Some(quota), objects, .. }) =
            self.record.spaces.get(&object.namespace).copied()
        else {
            return;
        };
        let Quota { object_bytes_max, objects_max, exempt } = quota;
        if is_crowded(after, object_bytes_max) && exempt != Some(object.id) {
            self.tell(object, Some(object.id), after, object_bytes_max, false);
        }
        if let Some(most) =
            objects_max.filter(|most| before.is_none() && is_crowded(objects, *most))
        {
            self.tell(object, None, objects, most, false);
        }
    }

    fn tell(&mut self, of: &ObjectRef, id: Option<ObjectId>, used: u64, most: u64, refused: bool) {
        let name = id.and(of.name.clone());
        let crowded =
            Crowded { namespace: of.namespace, object: id, name, used, most, is_refused: refused };
        let told = self.crowded.entry((of.namespace, id)).or_insert_with(|| crowded.clone());
        let is_refused = told.is_refused || refused;
        *told = Crowded { is_refused, ..crowded };
    }

    /// Puts these quotas in force, and no others.
    pub(super) fn set(&mut self, quotas: &Quotas) -> Outcome {
        if self.record.quotas() != *quotas {
            for space in self.record.spaces.values_mut() {
                space.quota = None;
            }
            for (namespace, quota) in quotas {
                self.record.spaces.entry(*namespace).or_default().quota = Some(*quota);
            }
            self.has_changed = true;
        }
        Outcome::QuotasSet
    }

    /// Counts at most `limit` objects that were there before there were sums; returns whether more are.
    pub(super) fn count(&mut self, rows: &Overlay, limit: usize) -> io::Result<bool> {
        let Some(from) = self.record.uncounted_from.clone().filter(|_| self.is_on) else {
            return Ok(false);
        };
        let (_, to) = keys::all_objects();
        let found = rows.scan(Table::Object, &from, &to, limit)?;
        let last = found.last().filter(|_| found.len() == limit);
        self.record.uncounted_from = last.map(|(key, _)| [&key[..], &[0]].concat());
        self.has_changed = true;
        for (key, value) in &found {
            let record: ObjectRecord = codec::decode(value)?;
            self.resize(key, None, Some(record.state.bytes()));
        }
        Ok(self.record.uncounted_from.is_some())
    }

    /// Writes the row if it is behind; gives what the batch has found crowded.
    pub(super) fn finish(&mut self, rows: &mut Overlay) -> Vec<Crowded> {
        if std::mem::take(&mut self.has_changed) {
            rows.put(Table::Register, keys::SPACES.to_vec(), codec::encode(&self.record));
        }
        std::mem::take(&mut self.crowded).into_values().collect()
    }
}

fn is_crowded(used: u64, most: u64) -> bool {
    u128::from(used) * 100 >= u128::from(most) * u128::from(CROWDED_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Namespace;
    use crate::machine::memory::Memory;

    fn spaces_with(quota: Quota) -> (Spaces, ObjectRef) {
        let object = Namespace::new("n").object("o");
        let mut spaces = Spaces::load(&Memory::default(), VERSION_QUOTAS).unwrap();
        let memory = Memory::default();
        assert!(!spaces.count(&Overlay::new(&memory), 10).unwrap(), "there is nothing to count");
        spaces.set(&Quotas::from([(object.namespace, quota)]));
        (spaces, object)
    }

    const QUOTA: Quota = Quota { object_bytes_max: 1000, objects_max: Some(5), exempt: None };

    #[test]
    fn an_object_may_take_its_quota_and_no_more() {
        let (mut spaces, object) = spaces_with(QUOTA);
        assert_eq!(spaces.refusal(&object, None, 1000), None);
        assert_eq!(spaces.refusal(&object, Some(1000), 1001), Some(Refusal::ObjectFull));
        let elsewhere = Namespace::new("m").object("o");
        assert_eq!(spaces.refusal(&elsewhere, None, u64::MAX), None);
        let exempt = Some(object.id);
        spaces.set(&Quotas::from([(object.namespace, Quota { exempt, ..QUOTA })]));
        assert_eq!(spaces.refusal(&object, Some(1000), 1001), None);
    }

    #[test]
    fn a_namespace_may_have_so_many_objects() {
        let (mut spaces, object) = spaces_with(QUOTA);
        let key = |number: u8| [&object.namespace.0[..], &[number; 16]].concat();
        for number in 0..5 {
            assert_eq!(spaces.refusal(&object, None, 1), None);
            spaces.resize(&key(number), None, Some(100));
        }
        assert_eq!(spaces.refusal(&object, None, 1), Some(Refusal::ObjectsFull));
        assert_eq!(spaces.refusal(&object, Some(1), 2), None, "one that is there may grow");
        spaces.resize(&key(2), Some(100), None);
        assert_eq!(spaces.refusal(&object, None, 1), None);
        let space = spaces.record.counted(object.namespace).unwrap();
        assert_eq!((space.objects, space.bytes), (4, 400));
    }

    #[test]
    fn what_is_crowded_is_told_once_a_batch_from_four_fifths_on() {
        let (mut spaces, object) = spaces_with(QUOTA);
        let memory = Memory::default();
        let finish = |spaces: &mut Spaces| spaces.finish(&mut Overlay::new(&memory));
        finish(&mut spaces);
        spaces.grown(&object, Some(1), 799);
        assert!(finish(&mut spaces).is_empty());
        spaces.grown(&object, Some(1), 800);
        spaces.grown(&object, Some(800), 900);
        assert_eq!(spaces.refusal(&object, Some(900), 1001), Some(Refusal::ObjectFull));
        let told = Crowded {
            namespace: object.namespace,
            object: Some(object.id),
            name: Some("o".to_owned()),
            used: 900,
            most: 1000,
            is_refused: true,
        };
        assert_eq!(finish(&mut spaces), [told]);
        assert!(finish(&mut spaces).is_empty());
        assert!(is_crowded(u64::MAX, u64::MAX) && !is_crowded(0, 1));
    }

    /// Whatever is made, grows and goes while old objects are counted a few at a time.
    #[test]
    fn objects_of_before_are_counted_while_others_come_and_go() {
        let mut memory = Memory::default();
        let namespace = Namespace::new("n").id();
        let key = |number: u8| [&namespace.0[..], &[number; 16]].concat();
        let row = |cells| {
            let state = ObjectState::Limiter { cells };
            codec::encode(&ObjectRecord { name: None, created_ms: 1, state })
        };
        for number in (10..100).step_by(10) {
            let put = crate::machine::Write::Put {
                table: Table::Object,
                key: key(number),
                value: row(u64::from(number)),
            };
            memory.make(&crate::machine::Effects { writes: vec![put], ..Default::default() });
        }
        let mut rows = Overlay::new(&memory);
        let mut spaces = Spaces::load(&memory, VERSION_QUOTAS).unwrap();
        assert!(spaces.count(&rows, 3).unwrap());
        assert_eq!(spaces.record.counted(namespace), None);
        // Before, at and behind the place up to which they are counted.
        for (number, before, after) in [
            (5, None, Some(1)),
            (20, Some(20), None),
            (30, Some(30), Some(31)),
            (35, None, Some(2)),
            (40, Some(40), None),
            (90, Some(90), Some(91)),
        ] {
            match after {
                Some(cells) => rows.put(Table::Object, key(number), row(cells)),
                None => rows.delete(Table::Object, key(number)),
            }
            let bytes = |cells: Option<u64>| cells.map(|cells| cells * KEY_BYTES);
            spaces.resize(&key(number), bytes(before), bytes(after));
        }
        while spaces.count(&rows, 3).unwrap() {}
        let space = spaces.record.counted(namespace).unwrap();
        let cells = 5 * 90 - 20 - 40 + 1 + 1 + 2 + 1;
        assert_eq!((space.objects, space.bytes), (9, cells * KEY_BYTES));
        assert!(!spaces.count(&rows, 3).unwrap());
    }
}
