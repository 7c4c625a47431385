//! The allocator, and the patterns that it searches for.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::Cell,
    fmt,
    hint::black_box,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
};

/// The length of a part in bytes: secrets are registered and compared in parts of this length.
const PART: usize = 16;
/// The maximum number of parts; a `u64` has one bit for each.
const CAPACITY: usize = 64;

/// A part of a secret, and how often it was found. Everything is atomic, because blocks are freed
/// on every thread and the allocator cannot take a lock.
struct Pattern {
    halves: [AtomicU64; 2],
    /// The number of blocks that were freed with it.
    freed: AtomicUsize,
    /// The number of blocks that were reallocated with it.
    reallocated: AtomicUsize,
    /// The length of the last of these blocks.
    block: AtomicUsize,
}

static PATTERNS: [Pattern; CAPACITY] = [const {
    Pattern {
        halves: [const { AtomicU64::new(0) }; 2],
        freed: AtomicUsize::new(0),
        reallocated: AtomicUsize::new(0),
        block: AtomicUsize::new(0),
    }
}; CAPACITY];

/// For each byte, the patterns that begin with it, one bit per pattern.
static BEGINNINGS: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];

/// Whether freed blocks are searched.
static WATCHING: AtomicBool = AtomicBool::new(false);
/// Whether a finding is printed with a backtrace.
static TRACING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// A backtrace allocates and frees memory itself.
    static IN_BACKTRACE: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Freed,
    Reallocated,
}

fn halves(part: &[u8]) -> [u64; 2] {
    let (first, second) = part.split_at(PART / 2);
    [first, second].map(|half| u64::from_ne_bytes(half.try_into().unwrap()))
}

fn search(block: &[u8], event: Event) {
    if !WATCHING.load(SeqCst) {
        return;
    }
    let mut found = 0_u64;
    for window in block.windows(PART) {
        let mut candidates = BEGINNINGS[usize::from(window[0])].load(Relaxed) & !found;
        while candidates != 0 {
            let number = candidates.trailing_zeros();
            candidates &= candidates - 1;
            let pattern = &PATTERNS[number as usize];
            if pattern.halves.each_ref().map(|half| half.load(Relaxed)) == halves(window) {
                found |= 1 << number;
                let count = if event == Event::Freed { &pattern.freed } else { &pattern.reallocated };
                count.fetch_add(1, SeqCst);
                pattern.block.store(block.len(), SeqCst);
            }
        }
    }
    if found != 0 && TRACING.load(SeqCst) && !IN_BACKTRACE.replace(true) {
        eprintln!("{event:?}: {} bytes with patterns {found:#b}\n{}", block.len(), Backtrace::force_capture());
        IN_BACKTRACE.set(false);
    }
}

/// The system's allocator, which clears what it allocates and searches what it frees.
pub(crate) struct ScanningAllocator;

// SAFETY: every method passes its arguments on to the system's allocator, under the same contract.
unsafe impl GlobalAlloc for ScanningAllocator {
    // Memory is always cleared: otherwise what a block holds from a former use would be found
    // again, and uninitialized bytes could not be read.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout has a size other than zero.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block was allocated here with this layout and all of its bytes are
        // initialized, and nothing refers to it any more.
        unsafe {
            search(std::slice::from_raw_parts(block, layout.size()), Event::Freed);
            System.dealloc(block, layout);
        }
    }

    // Always moves the block: whether a block can grow in place is up to the system's allocator,
    // and differs from run to run.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's new size is not zero and does not overflow with this alignment; the
        // old block is as in `dealloc`, and the new one is another.
        unsafe {
            let moved = System.alloc_zeroed(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                search(std::slice::from_raw_parts(block, layout.size()), Event::Reallocated);
                System.dealloc(block, layout);
            }
            moved
        }
    }
}

/// The kind of a secret. The order matters: a secret that is seen in several roles keeps the first
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(dead_code, reason = "some are secrets of a feature, or of another crate")]
pub(crate) enum Kind {
    Plaintext,
    WrappingKey,
    PrivateKey,
    SharedSecret,
    Passphrase,
    RootKey,
    /// The input of a message's key derivation.
    DataKey,
    /// The output of a message's key derivation.
    MessageKey,
    /// A key from the provider's random bytes: a data key, before it is used, or an ephemeral
    /// private key.
    GeneratedKey,
    /// Another key of AES-GCM, such as a derived one that wraps a data key.
    AesKey,
}

/// A part of a secret.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Secret {
    pub(crate) kind: Kind,
    part: [u8; PART],
}

/// Returns the secret's parts. If its length is not a multiple of the part length, the last bytes
/// are left out.
pub(crate) fn parts(kind: Kind, secret: &[u8]) -> impl Iterator<Item = Secret> + '_ {
    assert!(secret.len() >= PART, "{kind:?}: a secret of {} bytes is found by chance", secret.len());
    secret.chunks_exact(PART).map(move |part| Secret { kind, part: part.try_into().unwrap() })
}

/// What is registered: the secret at each position belongs to the pattern at the same position.
static KNOWN: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

fn known() -> MutexGuard<'static, Vec<Secret>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the scanner search for this secret from now on.
pub(crate) fn learn(kind: Kind, secret: &[u8]) {
    parts(kind, secret).for_each(learn_part);
}

fn learn_part(secret: Secret) {
    let mut known = known();
    if let Some(same) = known.iter_mut().find(|known| known.part == secret.part) {
        same.kind = same.kind.min(secret.kind);
        return;
    }
    let number = known.len();
    assert!(number < CAPACITY, "more than {CAPACITY} patterns in one case");
    // Reserve the whole list, because a reallocation would be searched.
    known.reserve_exact(CAPACITY - number);
    known.push(secret);
    let pattern = &PATTERNS[number];
    for (half, value) in pattern.halves.iter().zip(halves(&secret.part)) {
        half.store(value, SeqCst);
    }
    BEGINNINGS[usize::from(secret.part[0])].fetch_or(1 << number, SeqCst);
}

fn forget_all() {
    BEGINNINGS.iter().for_each(|patterns| patterns.store(0, SeqCst));
    known().clear();
    reset_counts();
}

fn reset_counts() {
    for Pattern { freed, reallocated, block, .. } in &PATTERNS {
        for count in [freed, reallocated, block] {
            count.store(0, SeqCst);
        }
    }
}

/// A secret that was found in freed memory.
pub(crate) struct Finding {
    pub secret: Secret,
    pub(crate) freed: usize,
    pub(crate) reallocated: usize,
    /// The length of the last of these blocks.
    pub(crate) block: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, freed, reallocated, block } = self;
        write!(f, "{:?} in {freed} freed and {reallocated} reallocated blocks, the last of {block} bytes", secret.kind)
    }
}

fn findings() -> Vec<Finding> {
    let finding = |(secret, pattern): (&Secret, &Pattern)| {
        let [freed, reallocated, block] =
            [&pattern.freed, &pattern.reallocated, &pattern.block].map(|count| count.load(SeqCst));
        Finding { secret: *secret, freed, reallocated, block }
    };
    known().iter().zip(&PATTERNS).map(finding).filter(|found| found.freed + found.reallocated > 0).collect()
}

/// The result of a watched piece of work.
pub(crate) struct Watched {
    /// Everything that was known at its end.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) findings: Vec<Finding>,
    /// The secrets that the scanner does not find where they are.
    pub(crate) unseen: Vec<Secret>,
}

/// The scanner. It covers the whole process, so one test uses it at a time.
pub(crate) struct Scanner(#[expect(dead_code, reason = "held, not used")] MutexGuard<'static, ()>);

impl Scanner {
    /// Waits until no other test uses it.
    pub(crate) fn lock() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // A test that panicked in a case left it on.
        WATCHING.store(false, SeqCst);
        TRACING.store(std::env::var_os("SEALWAX_FREED_BACKTRACE").is_some_and(|value| value == "1"), SeqCst);
        Self(alone)
    }

    /// Runs some work and searches for these secrets, and for those [learned](learn) meanwhile.
    pub(crate) fn watch(&self, secrets: &[Secret], work: impl FnOnce()) -> Watched {
        forget_all();
        secrets.iter().copied().for_each(learn_part);
        WATCHING.store(true, SeqCst);
        work();
        WATCHING.store(false, SeqCst);
        let (findings, secrets) = (findings(), known().clone());
        let unseen = secrets.iter().copied().filter(|secret| !self.sees(secret)).collect();
        forget_all();
        Watched { secrets, findings, unseen }
    }

    /// Returns whether the scanner finds this secret in a block that is freed, and in one that is
    /// reallocated.
    fn sees(&self, secret: &Secret) -> bool {
        let tracing = TRACING.swap(false, SeqCst);
        let counts = [free_with, reallocate_with].map(|leak| {
            reset_counts();
            WATCHING.store(true, SeqCst);
            leak(&secret.part);
            WATCHING.store(false, SeqCst);
            let found = findings();
            let seen = found.iter().find(|found| found.secret.part == secret.part);
            seen.map(|seen| (seen.freed, seen.reallocated))
        });
        TRACING.store(tracing, SeqCst);
        counts == [Some((1, 0)), Some((0, 1))]
    }
}

/// Frees a block that contains these bytes, in the middle and at an odd address.
pub(crate) fn free_with(bytes: &[u8]) {
    let mut block = vec![0; bytes.len() + 13];
    block[7..][..bytes.len()].copy_from_slice(bytes);
    drop(black_box(block));
}

/// Grows a vector that contains these bytes, and clears the larger one.
pub(crate) fn reallocate_with(bytes: &[u8]) {
    let mut block = Vec::with_capacity(bytes.len());
    block.extend_from_slice(bytes);
    let mut block = black_box(block);
    block.reserve_exact(1000);
    black_box(&mut block).fill(0);
}
