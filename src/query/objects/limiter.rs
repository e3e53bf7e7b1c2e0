//! A limiter as it stands, without a check.

use super::super::Source;
use super::{cells, record};
use crate::error::{Error, Result};
use crate::machine::ObjectRef;
use crate::machine::limiter::Cell;

/// How an identifier of a limiter stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The object's name, if it is known.
    pub name: Option<String>,
    /// Whose count it is; none if nobody was asked for by name and the object has nothing of its name.
    pub identifier: Option<String>,
    /// What is stored, whether or not its window is over.
    pub cell: Option<Cell>,
}

/// How `identifier` stands in a limiter; without one, that for which `/check` uses this object.
///
/// # Errors
/// `other_class` if the object holds the state of another class, `Internal` if the store cannot be read.
pub fn standing(
    source: &dyn Source,
    object: &ObjectRef,
    identifier: Option<&str>,
) -> Result<Standing> {
    let read = || -> std::io::Result<_> {
        let name = match &object.name {
            Some(name) => Some(name.clone()),
            None => record(&*source.with_cells(Vec::new()), object)?.and_then(|found| found.name),
        };
        let candidates: Vec<&str> = match (identifier, &name) {
            (Some(identifier), _) => vec![identifier],
            (None, Some(name)) => cells::identifiers(name).collect(),
            (None, None) => Vec::new(),
        };
        let keys = candidates.iter().map(|one| crate::machine::keys::cell(object, one)).collect();
        let snapshot = source.with_cells(keys);
        let mut found = None;
        for candidate in &candidates {
            if let Some(cell) = cells::cell(&*snapshot, object, candidate)? {
                found = Some(((*candidate).to_owned(), cell));
                break;
            }
        }
        let (known, cell) = found.unzip();
        let identifier = known.or_else(|| identifier.map(str::to_owned));
        Ok(Standing { identifier, cell, name })
    };
    read().map_err(Error::unreadable)
}
