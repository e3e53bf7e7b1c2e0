//! Which commands a log may hold, by version, so that a cluster can be upgraded a node at a time.
//!
//! A build knows the commands up to [`VERSION_MAX`]. The state says up to which version the cluster's
//! log may hold commands now, and the leader raises that ([`super::Command::Raise`]) once every node
//! takes part in more. The first byte of a batch is the newest version among its commands, so a build
//! that does not know it says so instead of guessing.

use std::io;

use super::command::Batch;
use super::keys;
use super::table::{Table, View};
use crate::codec;

/// The commands of a new cluster. The same number as the first byte of everything else that is
/// stored, as it was in the builds that had no versions of commands.
pub const VERSION_MIN: u8 = codec::VERSION;
/// The newest commands that this build knows. 3 has [`super::Command::Raise`].
pub const VERSION_MAX: u8 = VERSION_QUOTAS;
/// The first version that has [`super::Command::Changes`] and [`super::Command::Import`].
pub const VERSION_CHANGES: u8 = 4;
/// The first version that has [`super::Command::CheckByPolicy`], [`super::Command::SetPolicy`] and
/// [`super::Command::SeedPolicies`].
pub const VERSION_POLICIES: u8 = 5;
/// The first version that has [`super::Command::CreateToken`] and [`super::Command::RevokeToken`].
pub const VERSION_TOKENS: u8 = 6;
/// The first version that has [`super::Command::Credit`] and [`super::Command::CreateLimitedToken`].
pub const VERSION_CREDITS: u8 = 7;
/// The first version that has [`super::Command::SetQuotas`], and that measures objects.
pub const VERSION_QUOTAS: u8 = 8;

/// Up to which version the log may hold commands, by the state that `view` shows.
pub(super) fn load(view: &dyn View) -> io::Result<u8> {
    let value = view.get(Table::Register, keys::VERSION)?;
    Ok(value.map(|value| codec::decode(&value)).transpose()?.unwrap_or(VERSION_MIN))
}

impl Batch {
    /// Decodes what the leader encoded, if none of its commands is of a later version than `most`.
    ///
    /// # Errors
    /// `InvalidData` that says which version it would take, or what is damaged.
    pub fn decode(bytes: &[u8], most: u8) -> io::Result<Self> {
        match bytes.first() {
            Some(version) if *version > most => Err(newer("the log has an entry", *version, most)),
            Some(version) if *version >= VERSION_MIN => codec::decode_as(*version, bytes),
            _ => codec::decode(bytes),
        }
    }
}

/// Refuses what is of a later version than a node takes part in.
///
/// # Errors
/// `InvalidData` with both versions and what to do.
pub fn check_version(version: u8, most: u8) -> io::Result<()> {
    if version <= most { Ok(()) } else { Err(newer("the state is", version, most)) }
}

fn newer(what: &str, version: u8, most: u8) -> io::Error {
    let message = format!(
        "{what} of version {version}, and this node takes part in versions up to {most}: \
         start a build that knows more, or raise its version_max"
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::machine::{Command, Group, GroupOutcome, Machine, Outcome};

    fn raise(to: u8) -> Batch {
        let commands = Arc::new(vec![Command::Raise { version: to }]);
        let group = Group::outside_session(commands);
        Batch { at_ms: 1, groups: vec![group] }
    }

    #[test]
    fn a_batch_of_a_later_version_is_refused_and_says_which() {
        let bytes = codec::encode_as(3, &raise(3));
        assert_eq!(Batch::decode(&bytes, 3).unwrap(), raise(3));
        let error = Batch::decode(&bytes, 2).unwrap_err().to_string();
        assert!(error.contains("version 3") && error.contains("up to 2"), "{error}");
        let old = codec::encode(&Batch::<Command> { at_ms: 1, groups: Vec::new() });
        assert_eq!(Batch::decode(&old, 2).unwrap().at_ms, 1);
        for bytes in [&[][..], &[1, 0], &[0], &[2], &bytes[..3]] {
            assert!(Batch::decode(bytes, VERSION_MAX).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_version_is_kept_and_never_goes_back() {
        let mut rows = crate::machine::memory::Memory::default();
        let mut machine = Machine::load(&rows).unwrap();
        assert_eq!(machine.version(), VERSION_MIN);
        for (to, then) in [(3, 3), (2, 3), (3, 3)] {
            let (outcomes, effects) = machine.apply(&rows, &raise(to)).unwrap();
            rows.make(&effects);
            assert_eq!(outcomes, [GroupOutcome::Done(vec![Outcome::Raised { version: then }])]);
            assert_eq!(machine.version(), then);
            assert_eq!(Machine::load(&rows).unwrap(), machine);
        }
        assert!(check_version(machine.version(), 3).is_ok());
        let error = check_version(machine.version(), 2).unwrap_err().to_string();
        assert!(error.contains("version 3") && error.contains("up to 2"), "{error}");
    }
}
