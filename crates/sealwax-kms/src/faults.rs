//! Tests that make every step of every change fail, once with an error and once as if the process
//! ended there.

use std::{
    cell::RefCell,
    io,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use sealwax::EncryptionContext;

use super::{KeyState, LocalKms, LocalKmsError, PassphraseCost, Root, RootKind, WaitingPeriod, disk::Step};

/// What happens at the steps of this thread.
#[derive(Default)]
struct Plan {
    /// The step that fails, counted from 0; `None` if no step fails.
    fails: Option<usize>,
    /// Whether everything after it fails too, as if the process had ended there.
    dies: bool,
    seen: Vec<Step>,
    /// Whether every step that writes fails, as on a read-only file system.
    read_only: bool,
    /// What another process does just before a root key is opened.
    meanwhile: Option<Box<dyn FnOnce()>>,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// Fails if the plan says so.
pub(super) fn hit(step: Step) -> io::Result<()> {
    let meanwhile = PLAN.with_borrow_mut(|plan| plan.meanwhile.take_if(|_| step == Step::OpenRoot));
    if let Some(meanwhile) = meanwhile {
        meanwhile();
    }
    PLAN.with_borrow_mut(|plan| {
        let position = plan.seen.len();
        plan.seen.push(step);
        if plan.read_only && step != Step::OpenRoot {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match plan.fails {
            Some(at) if position == at || plan.dies && position > at => Err(io::Error::other("injected")),
            _ => Ok(()),
        }
    })
}

/// Runs a closure under a plan, and also returns the steps it took.
fn under<T>(fails: Option<usize>, dies: bool, run: impl FnOnce() -> T) -> (T, Vec<Step>) {
    PLAN.set(Plan { fails, dies, ..Plan::default() });
    let answer = run();
    (answer, PLAN.take().seen)
}

/// Cheap, because the cost does not matter here.
const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };

fn passphrase() -> Root {
    Root::passphrase_with_cost(b"a new passphrase".to_vec(), CHEAP)
}

fn open(folder: &Path) -> LocalKms {
    let clock = || UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let builder = |root| LocalKms::builder(folder).root(root).clock(clock).open().wait();
    builder(Root::default()).or_else(|_| builder(passphrase())).expect("the store opens")
}

/// A store with two keys, an alias and some ciphertexts.
struct Fixture {
    folder: tempfile::TempDir,
    keys: [String; 2],
    sealed: Vec<Vec<u8>>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kms = LocalKms::builder(folder.path())
            .clock(|| UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .create()
            .wait()
            .unwrap();
        let keys = [(); 2].map(|()| kms.create_key("kept").unwrap().key_id);
        kms.create_alias("one", &keys[0]).unwrap();
        let seal = |key: &String| kms.encrypt(key, key.as_bytes(), &EncryptionContext::new()).unwrap().ciphertext;
        let mut sealed: Vec<_> = keys.iter().map(seal).collect();
        kms.rotate_key(&keys[0]).unwrap();
        sealed.push(kms.encrypt(&keys[0], keys[0].as_bytes(), &EncryptionContext::new()).unwrap().ciphertext);
        Self { folder, keys, sealed }
    }

    /// Checks what must hold at any time: the store opens, every ciphertext decrypts, the log is
    /// complete, and the store can be changed.
    fn check(&self, at: &str) -> LocalKms {
        let kms = open(self.folder.path());
        for sealed in &self.sealed {
            let opened = kms.decrypt(sealed, &EncryptionContext::new()).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert!(self.keys.iter().any(|key| opened.plaintext.ct_eq(key.as_bytes())), "{at}");
        }
        kms.create_key("afterwards").unwrap_or_else(|error| panic!("{at}: {error}"));
        let report = kms.verify_audit_log().unwrap();
        assert!(report.faults.is_empty(), "{at}: {:?}", report.faults);
        let left = std::fs::read_dir(self.folder.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!left.iter().any(|name| name.ends_with(".partial")), "{at}: {left:?}");
        // Nor is the root key left that the present one has replaced, or that never came into use.
        let is_in_folder = LocalKms::root_kind(self.folder.path()).unwrap() == Some(RootKind::KeyFile);
        let root_keys = left.iter().filter(|name| name.ends_with(".key")).count();
        assert_eq!(root_keys, usize::from(is_in_folder), "{at}: {left:?}");
        kms
    }
}

/// Runs a change with each of its steps failing in turn, and returns the steps. `name` is that of
/// its operation; `is_done` returns whether the change was made.
fn try_all(
    name: &str,
    change: impl Fn(&LocalKms, &Fixture) -> Result<(), String>,
    is_done: impl Fn(&LocalKms, &Fixture) -> bool,
) -> Vec<Step> {
    let fixture = Fixture::new();
    let kms = open(fixture.folder.path());
    let (outcome, steps) = under(None, false, || change(&kms, &fixture));
    outcome.unwrap();
    assert!(is_done(&fixture.check(name), &fixture), "{name}");

    for dies in [false, true] {
        for (position, step) in steps.iter().enumerate() {
            let at = format!("{name}, {step:?} (step {position}), dies: {dies}");
            let fixture = Fixture::new();
            let kms = open(fixture.folder.path());
            let (outcome, seen) = under(Some(position), dies, || change(&kms, &fixture));
            assert_eq!(seen.get(position), Some(step), "{at}");
            let done = is_done(&fixture.check(&at), &fixture);
            // A change that was reported as done is done. One that was reported as failed may be
            // done: it is unknown whether a directory that failed to sync has the change.
            assert!(outcome.is_err() || done, "{at}: reported as done");
            let is_logged = kms_log(fixture.folder.path()).iter().any(|operation| operation == name);
            assert!(is_logged || !done, "{at}: done, and not in the log");
            if !dies {
                // The same open store can go on.
                assert_eq!(is_done(&kms, &fixture), done, "{at}");
                kms.create_key("by the same process").unwrap_or_else(|error| panic!("{at}: {error}"));
                assert!(kms.verify_audit_log().unwrap().faults.is_empty(), "{at}");
            }
        }
    }
    steps
}

fn kms_log(folder: &Path) -> Vec<String> {
    open(folder).audit_log().unwrap().into_iter().map(|entry| entry.operation).collect()
}

fn text<T>(outcome: Result<T, impl std::fmt::Display>) -> Result<(), String> {
    outcome.map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_change_that_fails_at_any_step_leaves_the_old_state_or_the_new() {
    let steps = try_all(
        "UpdateKeyDescription",
        |kms, fixture| text(kms.update_key_description(&fixture.keys[1], "changed")),
        |kms, fixture| kms.describe_key(&fixture.keys[1]).unwrap().description == "changed",
    );
    for step in [Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncFolder, Step::SyncLog, Step::Append]
    {
        assert!(steps.contains(&step), "{step:?} was not tried");
    }
    try_all(
        "CreateKey",
        |kms, _| text(kms.create_key("new")),
        |kms, _| kms.list_keys().unwrap().iter().any(|key| key.description == "new"),
    );
    try_all(
        "RotateKeyOnDemand",
        |kms, fixture| text(kms.rotate_key(&fixture.keys[1])),
        |kms, fixture| kms.describe_key(&fixture.keys[1]).unwrap().generations == 2,
    );
    try_all(
        "UpdateAlias",
        |kms, fixture| text(kms.update_alias("one", &fixture.keys[1])),
        |kms, fixture| kms.describe_key("one").unwrap().key_id == fixture.keys[1],
    );
}

#[test]
fn a_deletion_that_fails_at_any_step_destroys_only_its_key() {
    try_all(
        "DeleteKey",
        |kms, _| {
            let key = text(kms.create_key("doomed")).and_then(|()| {
                let keys = kms.list_keys().map_err(|error| error.to_string())?;
                keys.into_iter().find(|key| key.description == "doomed").ok_or_else(|| "not there".to_owned())
            })?;
            text(kms.schedule_key_deletion(&key.key_id, WaitingPeriod::Sooner(Duration::ZERO)))?;
            text(kms.list_keys())
        },
        |kms, _| {
            let keys = kms.list_keys().unwrap();
            assert!(keys.iter().all(|key| !matches!(key.state, KeyState::PendingDeletion(_))));
            let deleted = kms.audit_log().unwrap().iter().any(|line| line.operation == "DeleteKey");
            assert!(!deleted || keys.iter().all(|key| key.description != "doomed"));
            deleted
        },
    );
}

#[test]
fn a_rotation_of_the_root_that_fails_at_any_step_leaves_the_old_root_or_the_new() {
    let generation = |kms: &LocalKms| kms.audit_log().unwrap().iter().any(|line| line.operation == "RotateRoot");
    let steps = try_all(
        "RotateRoot",
        |kms, _| text(kms.rotate_root(Root::key_file_in_folder()).wait()),
        |kms, _| generation(kms),
    );
    assert!(steps.contains(&Step::Remove));
    try_all("RotateRoot", |kms, _| text(kms.rotate_root(passphrase()).wait()), |kms, _| generation(kms));
}

#[test]
fn an_old_root_key_is_not_removed_before_the_store_that_does_without_it_is_durable() {
    let fixture = Fixture::new();
    let (kms, other) = (open(fixture.folder.path()), open(fixture.folder.path()));
    let (_, steps) = under(None, false, || kms.rotate_root(Root::default()).wait().unwrap());
    let rename = steps.iter().position(|step| *step == Step::Rename).unwrap();
    // The process dies between the rename and the sync of the directory.
    let (outcome, _) = under(Some(rename + 1), true, || kms.rotate_root(Root::default()).wait());
    assert!(outcome.is_err());
    // After a line that was altered, the line of that change is not appended, which would sync too.
    let log = fixture.folder.path().join("audit.log");
    std::fs::write(&log, std::fs::read_to_string(&log).unwrap() + "altered\n").unwrap();
    let (_, steps) = under(None, false, || other.create_key("").unwrap());
    let at = |step| steps.iter().position(|other| *other == step).unwrap();
    assert!(at(Step::SyncFolder) < at(Step::Remove), "{steps:?}");

    // Nor does a line state the generation of that store before.
    let fixture = Fixture::new();
    let (kms, other) = (open(fixture.folder.path()), open(fixture.folder.path()));
    let (_, steps) = under(None, false, || kms.create_key("").unwrap());
    let rename = steps.iter().position(|step| *step == Step::Rename).unwrap();
    let (outcome, _) = under(Some(rename + 1), true, || kms.create_key(""));
    assert!(outcome.is_err());
    let log = fixture.folder.path().join("audit.log");
    std::fs::write(&log, std::fs::read_to_string(&log).unwrap() + "altered\n").unwrap();
    let (_, steps) = under(None, false, || other.list_keys().unwrap());
    assert_eq!(steps, [Step::SyncFolder, Step::Append]);
}

#[test]
fn an_answer_that_cannot_be_logged_is_not_given_and_a_torn_line_is_cut_off() {
    let steps = try_all(
        "Decrypt",
        |kms, fixture| text(kms.decrypt(&fixture.sealed[0], &EncryptionContext::new())),
        |_, _| true,
    );
    assert_eq!(steps, [Step::Append]);
    let fixture = Fixture::new();
    let kms = open(fixture.folder.path());
    let (outcome, _) = under(Some(0), false, || kms.decrypt(&fixture.sealed[0], &EncryptionContext::new()));
    assert!(outcome.is_err());
    // Half a line is there. The next operation cuts it off, or fails if it cannot.
    let (outcome, steps) = under(Some(0), false, || kms.decrypt(&fixture.sealed[0], &EncryptionContext::new()));
    assert!(outcome.is_err());
    assert_eq!(steps, [Step::CutLog]);
    fixture.check("torn line");
}

#[test]
fn a_backup_or_root_key_that_cannot_be_written_whole_is_not_left_there() {
    let (fixture, elsewhere) = (Fixture::new(), tempfile::tempdir().unwrap());
    let kms = open(fixture.folder.path());
    let (backup, root) = (elsewhere.path().join("backup"), elsewhere.path().join("root"));
    let export = || kms.export(&backup, None, passphrase()).wait();
    let rotate = || kms.rotate_root(Root::key_file(&root)).wait();
    // The line in the log comes before the backup.
    type Try<'a> = &'a dyn Fn() -> Result<(), LocalKmsError>;
    let tries: [(_, usize, Try<'_>); 2] = [(&backup, 1, &export), (&root, 0, &rotate)];
    for (file, first, make) in tries {
        for (position, step) in (first..).zip([Step::Create, Step::Write, Step::SyncFile]) {
            let (outcome, steps) = under(Some(position), false, make);
            assert_eq!(steps.get(position), Some(&step));
            assert!(outcome.is_err() && !file.exists(), "{step:?}");
        }
        make().unwrap();
        assert!(file.exists());
    }
}

#[test]
fn nothing_is_encrypted_under_material_that_may_not_be_on_the_disk() {
    let fixture = Fixture::new();
    let (folder, key) = (fixture.folder.path(), &fixture.keys[0]);
    let (kms, other) = (open(folder), open(folder));
    let encrypt = || kms.encrypt(key, b"text", &EncryptionContext::new());
    encrypt().unwrap();
    // Another process dies between the rename and the sync of the directory.
    let (_, steps) = under(None, false, || other.rotate_key(key).unwrap());
    let rename = steps.iter().position(|step| *step == Step::Rename).unwrap();
    let (outcome, _) = under(Some(rename + 1), true, || other.rotate_key(key));
    assert!(outcome.is_err());
    // The line of that change is not logged before the change is durable either.
    let (outcome, steps) = under(Some(0), false, encrypt);
    assert!(outcome.is_err() && steps == [Step::SyncFolder], "the folder does not sync: {steps:?}");
    let (outcome, steps) = under(None, false, encrypt);
    assert!(outcome.is_ok() && steps == [Step::SyncFolder, Step::Append, Step::Append], "{steps:?}");
    let (_, steps) = under(None, false, encrypt);
    assert_eq!(steps, [Step::Append]);
    // The process that failed to sync it must do so too, and so must one that has just opened the
    // store.
    for kms in [&other, &open(folder)] {
        let (_, steps) = under(None, false, || kms.encrypt(key, b"text", &EncryptionContext::new()).unwrap());
        assert!(steps.contains(&Step::SyncFolder), "{steps:?}");
    }
}

#[test]
fn a_store_that_fails_to_be_made_can_be_made_afterwards() {
    let (_, steps) = under(None, false, || LocalKms::create(tempfile::tempdir().unwrap().path()).unwrap());
    for dies in [false, true] {
        for position in 0..steps.len() {
            let folder = tempfile::tempdir().unwrap();
            let (_, _) = under(Some(position), dies, || text(LocalKms::create(folder.path())));
            let kms = LocalKms::builder(folder.path()).open_or_create().wait().unwrap();
            kms.create_key("").unwrap();
            assert!(kms.verify_audit_log().unwrap().faults.is_empty(), "step {position}");
        }
    }
}

#[test]
fn a_read_only_store_decrypts_and_refuses_everything_that_writes() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    let files = || {
        let name = |name: &str| std::fs::read(folder.join(name)).ok();
        (std::fs::read_dir(folder).unwrap().count(), ["store.bin", "audit.log", "lock"].map(name))
    };
    // Half a line, as a crash leaves it, is not cut off.
    let log = folder.join("audit.log");
    std::fs::write(&log, std::fs::read(&log).unwrap().as_slice().strip_suffix(b"\n").unwrap()).unwrap();
    let due = || UNIX_EPOCH + Duration::from_secs(3_000_000_000);
    let [one, two] = &fixture.keys;
    for left_out in ["", "audit.log", "lock"] {
        if !left_out.is_empty() {
            std::fs::remove_file(folder.join(left_out)).unwrap();
        }
        let before = files();
        PLAN.set(Plan { read_only: true, ..Plan::default() });
        let builder = || LocalKms::builder(folder).clock(due);
        assert!(matches!(builder().open().wait(), Err(LocalKmsError::Io { .. })), "only where it is allowed");
        let kms = builder().allow_read_only(true).open().wait().unwrap();
        PLAN.with_borrow_mut(|plan| plan.seen.clear());
        let none = EncryptionContext::new();
        for (sealed, key) in fixture.sealed.iter().zip([one, two, one]) {
            assert!(kms.decrypt(sealed, &none).unwrap().plaintext.ct_eq(key.as_bytes()));
        }
        assert_eq!(kms.describe_key("one").unwrap().key_id, *one);
        assert_eq!((kms.list_keys().unwrap().len(), kms.list_aliases().unwrap().len()), (2, 1));
        assert!(kms.audit_log().is_ok() && kms.verify_audit_log().is_ok());
        assert!(matches!(&kms.warnings().unwrap()[..], [crate::StoreWarning::ReadOnly { .. }]));
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("file");
        let refused = [
            text(kms.create_key("")),
            text(kms.encrypt(one, b"text", &none)),
            text(kms.generate_data_key(one, 32, &none)),
            text(kms.disable_key(one)),
            text(kms.create_alias("two", two)),
            text(kms.rotate_root(Root::key_file(&file)).wait()),
            text(kms.export(&file, None, passphrase()).wait()),
        ];
        for outcome in refused {
            assert!(outcome.unwrap_err().contains("is read-only: it can decrypt"));
        }
        let steps = PLAN.take().seen;
        assert!(steps.is_empty(), "nothing tried to write: {steps:?}");
        assert!(files() == before && !file.exists(), "without {left_out}");
    }
}

#[test]
fn no_root_key_disappears_between_the_store_and_its_root() {
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_millis(20);
    let kms = LocalKms::builder(folder.path()).lock_timeout(patience).create().wait().unwrap();
    let rotated = std::rc::Rc::new(std::cell::Cell::new(None));
    let (told, other) = (rotated.clone(), kms.clone());
    let meanwhile = move || told.set(Some(other.rotate_root(Root::default()).wait().is_ok()));
    PLAN.set(Plan { meanwhile: Some(Box::new(meanwhile)), ..Plan::default() });
    open(folder.path());
    PLAN.take();
    // Replacing both must wait until they have been read.
    assert_eq!(rotated.take(), Some(false));
    kms.rotate_root(Root::default()).wait().unwrap();
}
