//! The operating system's randomness, made the simulation's own.
//!
//! Everything random in a process begins with `getrandom`: `rand`'s generators, with them openraft's
//! election timeouts and the ids of entries, the hash seeds of the standard library, and tokio's
//! choice among the ready branches of a `select!`. A program's own function of that name comes before
//! libc's. On a thread that was seeded it gives numbers of the seed, on any other those of the system.
//!
//! tokio also counts the generators that a process has made. So a run is the same only as the first
//! one of its process: see `many.rs`.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on this thread's randomness comes from `seed`. To be called before anything random.
pub fn seed_this_thread(seed: u64) {
    STATE.set(Some(seed));
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn fill(bytes: &mut [u8]) {
    match STATE.get() {
        Some(mut state) => {
            for chunk in bytes.chunks_mut(8) {
                chunk.copy_from_slice(&next(&mut state).to_le_bytes()[..chunk.len()]);
            }
            STATE.set(Some(state));
        }
        None => File::open("/dev/urandom")
            .and_then(|mut system| system.read_exact(bytes))
            .expect("the system gives randomness"),
    }
}

/// As `getrandom(2)`: fills `length` bytes at `buffer` and returns `length`.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
#[expect(unsafe_code, reason = "it has the name and the form of the system's function")]
// SAFETY: the name is libc's, and so is what the function does.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    let mut piece = [0; 256];
    let mut done = 0;
    while done < length {
        let bytes = piece.len().min(length - done);
        fill(&mut piece[..bytes]);
        // SAFETY: `done + bytes <= length`, which the caller has promised to be writable.
        unsafe { std::ptr::copy_nonoverlapping(piece.as_ptr(), buffer.add(done), bytes) };
        done += bytes;
    }
    isize::try_from(length).expect("no buffer is larger")
}
