//! A global allocator that counts, for the tests of what work allocates.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

/// The allocations since the process began.
static BLOCKS: AtomicU64 = AtomicU64::new(0);
/// The bytes held now.
static HELD: AtomicI64 = AtomicI64::new(0);
/// The most bytes held since the last measurement began.
static MOST: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, with a count of what passes through it.
pub(crate) struct CountingAllocator;

impl CountingAllocator {
    fn add(bytes: usize) {
        BLOCKS.fetch_add(1, Relaxed);
        let held = HELD.fetch_add(bytes as i64, Relaxed) + bytes as i64;
        MOST.fetch_max(held, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size() as i64, Relaxed);
        Self::add(size);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as i64, Relaxed);
        unsafe { System.dealloc(block, layout) }
    }
}

/// What some work allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The number of allocations.
    pub(crate) blocks: u64,
    /// The most bytes held at a time, beyond those held before.
    pub(crate) most: usize,
}

/// Measures once. The allocations of all threads count, so only one test may run at a time.
pub(crate) fn cost_once<T>(work: impl FnOnce() -> T) -> Cost {
    let (blocks, held) = (BLOCKS.load(Relaxed), HELD.load(Relaxed));
    MOST.store(held, Relaxed);
    drop(work());
    let most = MOST.load(Relaxed) - held;
    Cost { blocks: BLOCKS.load(Relaxed) - blocks, most: usize::try_from(most).expect("it only grows") }
}

/// Measures several times. The test harness may allocate meanwhile, so the number of allocations is
/// the least; it may also free, so the most bytes held is the median.
pub(crate) fn cost<T>(mut work: impl FnMut() -> T) -> Cost {
    let mut costs = [(); 5].map(|()| cost_once(&mut work));
    let blocks = costs.map(|cost| cost.blocks).into_iter().min().unwrap();
    costs.sort_by_key(|cost| cost.most);
    Cost { blocks, most: costs[2].most }
}

#[test]
fn allocations_are_counted() {
    let _alone = crate::alone();
    let cost = cost(|| {
        let short = vec![1_u8; 1000];
        let mut long = Vec::<u8>::with_capacity(100_000);
        long.reserve_exact(200_000);
        drop(short);
        long
    });
    assert!((3..10).contains(&cost.blocks), "{cost:?}");
    assert!(cost.most.abs_diff(201_000) < 1000, "{cost:?}");
}
