//! Cursors: where a list of objects, or of what one holds, goes on.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::opaque;
use crate::error::{Error, Result};
use crate::machine::{NamespaceId, ObjectId};
use crate::{codec, limits};

/// The key behind which a list goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// What the list is of.
    of: [u8; 8],
    /// The last key that the page before has looked at.
    pub(super) last: Vec<u8>,
}

/// What a list is of.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Of<'a> {
    /// The objects of a namespace whose names begin so.
    Objects(NamespaceId, &'a str),
    /// The storage of an object.
    Storage(NamespaceId, ObjectId),
}

impl Cursor {
    pub(super) fn new(of: Of<'_>, last: Vec<u8>) -> Self {
        Self { of: fingerprint(of), last }
    }

    /// Reads what [`Self::to_text`] gave.
    ///
    /// # Errors
    /// `bad_cursor` if it is no cursor.
    pub fn parse(text: &str) -> Result<Self> {
        opaque::from_text::<Self>(text, limits::OBJECT_CURSOR_CHARS_MAX)
            .ok_or_else(|| bad("cursor is not one that a list has given"))
    }

    /// The key behind which the list goes on, if it is one of this.
    pub(super) fn last(&self, of: Of<'_>) -> Result<&[u8]> {
        match self.of == fingerprint(of) {
            true => Ok(&self.last),
            false => Err(bad("cursor belongs to a list of another binding, prefix or object")),
        }
    }

    /// The cursor's text: hexadecimal digits.
    pub fn to_text(&self) -> String {
        opaque::to_text(self)
    }
}

fn fingerprint(of: Of<'_>) -> [u8; 8] {
    *Sha256::digest(codec::encode(&of)).first_chunk().expect("a digest has 32 bytes")
}

fn bad(message: &str) -> Error {
    Error::invalid("bad_cursor", message)
}
