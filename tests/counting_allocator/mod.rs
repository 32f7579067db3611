//! An allocator that counts what each thread asks of it.

// Not everybody who counts uses all of it.
#![allow(dead_code, unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Counts allocations and reallocations of the current thread, then does what the system's allocator does.
pub(crate) struct CountingAllocator;

/// How often the current thread allocated memory while `work` ran.
pub(crate) fn allocations_during<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.get();
    let done = work();
    (ALLOCATIONS.get() - before, done)
}

/// The bytes that the current thread has allocated and not freed; negative if it freed those of others. Counted in
/// the chunks that glibc makes of them: 8 bytes more than asked for, a multiple of 16, at least 32.
pub(crate) fn bytes_held() -> i64 {
    HELD.get()
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

fn count(allocations: u64, bytes: i64) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    HELD.set(HELD.get() + bytes);
}

const fn chunk(size: usize) -> i64 {
    let chunk = (size + 8).next_multiple_of(16);
    if chunk < 32 { 32 } else { chunk as i64 }
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counters neither allocate nor have
// a destructor, so they may be touched at any time.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, chunk(layout.size()));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, chunk(size) - chunk(layout.size()));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::realloc`, and the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -chunk(layout.size()));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
