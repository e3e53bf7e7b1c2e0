//! How an input is made of others.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Changes that make one input of another: at most.
const CHANGES_MAX: usize = 4;
/// What decoders have special cases for: lengths, ends of ranges, and the words of JSON and paths.
const PIECES: &[&[u8]] = &[
    b"\x00",
    b"\xff",
    b"\xfb\xff\xff",
    b"\xfc\xff\xff\xff\xff",
    b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xfc\x00\x00\x00\x04",
    b"\x7f",
    b"\x80",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"null",
    b"-0",
    b"1e999",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9007199254740992",
    b"%",
    b"%2F",
    b"%00",
    b"%C3%A9",
    b"/",
    b"+",
    b"&",
    b"=",
    b"\xc3\xa9",
    b"\xc2\x85",
    b"\xf0\x9f\x98\x80",
    b"\r\n",
    b" ",
];

/// An input that is like one of `seeds`.
pub fn mutated(random: &mut StdRng, seeds: &[&[u8]]) -> Vec<u8> {
    let mut input = seeds.choose(random).expect("a seed").to_vec();
    for _ in 0..random.random_range(1..=CHANGES_MAX) {
        let at = random.random_range(0..=input.len());
        let to = random.random_range(at..=input.len().min(at + 16));
        match random.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = random.random(),
            2 => drop(input.drain(at..to)),
            3 => input.truncate(at),
            4 => {
                let copy = input[at..to].to_vec();
                input.splice(at..at, copy);
            }
            5 => {
                // What another begins or ends with.
                let other = seeds.choose(random).expect("a seed");
                let from = random.random_range(0..=other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let piece = PIECES.choose(random).expect("a piece");
                input.splice(at..to, piece.iter().copied());
            }
        }
    }
    input
}
