//! What comes from other nodes.

use tallykeep::codec;
use tallykeep::fuzzing;
use tallykeep::peer::{Hello, Kind};

use super::{Verdict, is_invalid_data, stable};

/// Marks a reply.
const REPLY: u8 = 0x80;

/// `kind (1) ‖ payload`, as in a frame; with [`REPLY`] the reply to that kind. 0 is the greeting and,
/// with [`REPLY`], its answer.
pub fn message(input: &[u8]) -> Verdict {
    let Some((kind, payload)) = input.split_first() else { return Verdict::Refused };
    match (kind & !REPLY, kind & REPLY) {
        (0, 0) => stable(payload, again::<Hello>, is_invalid_data),
        (0, _) => stable(payload, again::<Result<(), String>>, is_invalid_data),
        (kind, direction) => match Kind::from_byte(kind) {
            None => Verdict::Refused,
            Some(Kind::Status | Kind::ReadIndex) if direction == 0 => Verdict::Taken,
            Some(Kind::SnapshotBegin | Kind::SnapshotChunk | Kind::Bootstrap) if direction != 0 => {
                Verdict::Taken
            }
            Some(kind) if direction == 0 => {
                stable(payload, |bytes| fuzzing::request(kind, bytes), is_invalid_data)
            }
            Some(kind) => stable(payload, |bytes| fuzzing::reply(kind, bytes), is_invalid_data),
        },
    }
}

fn again<T>(bytes: &[u8]) -> std::io::Result<Vec<u8>>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    Ok(codec::encode(&codec::decode::<T>(bytes)?))
}
