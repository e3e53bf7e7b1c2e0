//! Counts what a thread allocates, so that a target can tell how much an input made a decoder take.
#![allow(unsafe_code, reason = "an allocator is unsafe to write; this one hands all on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, and how much of it this thread has at once.
struct Counting;

thread_local! {
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<isize> = const { Cell::new(0) };
}

/// How much memory an input may cost while it is read: so much, and so much for each of its bytes.
#[derive(Clone, Copy)]
pub struct Allowance {
    fixed: usize,
    per_byte: usize,
}

/// Of a body of JSON, or a text: a member of few bytes has its place in several lists.
pub const TEXT: Allowance = Allowance { fixed: 64 * 1024, per_byte: 96 };
/// Of a value in the house's own encoding. serde sets aside up to a megabyte for a list that says
/// to be long, and a value has lists in lists.
pub const VALUE: Allowance = Allowance { fixed: 5 * 1024 * 1024, per_byte: 300 };

/// Does some work on an input.
///
/// # Panics
/// If the work has more memory at once than is allowed for the input.
pub fn bounded<T>(input: &[u8], allowance: Allowance, work: impl FnOnce() -> T) -> T {
    let before = LIVE_BYTES.get();
    PEAK_BYTES.set(before);
    let done = work();
    let taken = usize::try_from(PEAK_BYTES.get() - before).unwrap_or(0);
    let allowed = allowance.fixed + allowance.per_byte * input.len();
    assert!(taken <= allowed, "{} bytes of input took {taken} of memory", input.len());
    done
}

fn note(bytes: isize) {
    // At the end of a thread there may be nothing left to count with.
    let _ = LIVE_BYTES.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK_BYTES.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

fn size(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(size(layout.size()));
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(size(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-size(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(size(bytes) - size(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}
