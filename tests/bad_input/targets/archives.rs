//! A backup's file, which may have been anywhere since it was written.

use tallykeep::archive::{File, Reader, write};

use super::allocation::{VALUE, bounded};
use super::{Verdict, is_invalid_data};

/// All of it: what is taken is, byte for byte, what is written again.
pub fn archive(input: &[u8]) -> Verdict {
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    let read = bounded(input, VALUE, || {
        let reader = Reader::open(input)?;
        let contents = reader.contents().clone();
        reader.read_all(|_, offset, piece| {
            if offset == 0 {
                bodies.push(Vec::new());
            }
            bodies.last_mut().expect("begun").extend_from_slice(piece);
            Ok(())
        })?;
        Ok(contents)
    });
    let contents = match read {
        Ok(contents) => contents,
        Err(error) => {
            assert!(is_invalid_data(&error), "{error:?}");
            return Verdict::Refused;
        }
    };
    let mut again = Vec::new();
    let mut bodies = bodies.iter();
    // Of an empty one nothing came.
    let open = |file: &File| {
        let body = if file.bytes > 0 { bodies.next().map(Vec::as_slice) } else { None };
        Ok(body.unwrap_or_default())
    };
    write(&contents, open, &mut again).expect("it was read");
    assert_eq!(again, input);
    assert_eq!(contents.archive_bytes(), input.len() as u64);
    Verdict::Taken
}
