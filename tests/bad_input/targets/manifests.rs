//! The list of a snapshot's files, which comes from another machine.

use std::path::{Component, Path};

use tallykeep::codec;
use tallykeep::limits;
use tallykeep::storage::Manifest;

use super::allocation::{VALUE, bounded};
use super::{Verdict, is_invalid_data};

/// A manifest as it is sent, and as it is kept but for its checksum.
pub fn manifest(input: &[u8]) -> Verdict {
    let read = bounded(input, VALUE, || {
        let manifest = codec::decode::<Manifest>(input)?;
        manifest.check().map(|()| manifest)
    });
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(error) => {
            assert!(is_invalid_data(&error), "{error:?}");
            return Verdict::Refused;
        }
    };
    assert!(manifest.files.len() <= limits::SNAPSHOT_FILES_MAX);
    for file in &manifest.files {
        // A name that is anything but one would be written elsewhere.
        let path = Path::new(&file.name);
        let parts: Vec<_> = path.components().collect();
        assert!(matches!(parts[..], [Component::Normal(_)]), "{path:?}");
        assert_eq!(manifest.file(&file.name), Some(file), "each is found, once");
        assert!(file.bytes <= manifest.bytes());
    }
    let again: Manifest = codec::decode(&codec::encode(&manifest)).expect("it was written here");
    assert_eq!(again, manifest);
    Verdict::Taken
}
